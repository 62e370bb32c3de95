// One connection with one channel in confirm mode, and the two queues.

import { connect } from 'amqplib';

export const REQUESTS = 'bench.peer.requests';
export const RESULTS = 'bench.peer.results';

export async function open() {
  const connection = await connect(process.env.AMQP_URL ?? 'amqp://127.0.0.1', { noDelay: true });
  const channel = await connection.createConfirmChannel();
  const options = { durable: true, arguments: { 'x-queue-type': 'quorum' } };
  await channel.assertQueue(REQUESTS, options);
  await channel.assertQueue(RESULTS, options);
  return channel;
}

// Ends when the broker has confirmed the message.
export function publish(channel, queue, id, body) {
  const options = { persistent: true, contentType: 'application/json', messageId: id };
  return new Promise((resolve, reject) => {
    const confirmed = (error) => (error ? reject(error) : resolve());
    channel.sendToQueue(queue, Buffer.from(JSON.stringify(body)), options, confirmed);
  });
}
