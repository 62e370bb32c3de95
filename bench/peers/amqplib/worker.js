// Worker on amqplib: returns the data as the result. CONCURRENCY requests are worked on at a time; each is acked after
// its result was confirmed.

import { open, publish, REQUESTS, RESULTS } from './queues.js';

const channel = await open();
await channel.prefetch(Number(process.env.CONCURRENCY ?? 8));
await channel.consume(REQUESTS, async (message) => {
  const { requestId, data } = JSON.parse(message.content);
  await publish(channel, RESULTS, requestId, { requestId, processingResults: data });
  channel.ack(message);
});
