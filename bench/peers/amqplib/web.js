// Web service on amqplib: publishes each request with a confirm before it answers, and keeps the results in memory.

import { randomUUID } from 'node:crypto';
import express from 'express';
import { listen } from '../listen.js';
import { open, publish, REQUESTS, RESULTS } from './queues.js';

const results = new Map();
const channel = await open();
await channel.prefetch(250);
await channel.consume(RESULTS, (message) => {
  results.set(message.properties.messageId, JSON.parse(message.content).processingResults);
  channel.ack(message);
});

const app = express();
app.use(express.json());

app.post('/api/v1/processData', async (request, response) => {
  const requestId = randomUUID();
  await publish(channel, REQUESTS, requestId, { requestId, data: request.body.data });
  response.status(202).json({ requestId });
});

app.get('/api/v1/requests/:id', (request, response) => {
  const done = results.has(request.params.id);
  response.json({ status: done ? 'completed' : 'pending', result: results.get(request.params.id) });
});

app.get('/count', (_, response) => response.json({ count: results.size }));
app.get('/health/ready', (_, response) => response.json({}));

listen(app);
