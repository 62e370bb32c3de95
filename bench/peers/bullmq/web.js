// Web service on BullMQ: adds each request to the queue before it answers. Redis keeps the results.

import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import express from 'express';
import { listen } from '../listen.js';
import { connect, QUEUE } from './queue.js';

const queue = new Queue(QUEUE, { connection: connect() });
await queue.waitUntilReady();

const app = express();
app.use(express.json());

app.post('/api/v1/processData', async (request, response) => {
  const requestId = randomUUID();
  await queue.add('request', { data: request.body.data }, { jobId: requestId });
  response.status(202).json({ requestId });
});

app.get('/api/v1/requests/:id', async (request, response) => {
  const job = await queue.getJob(request.params.id);
  if (!job) return response.status(404).json({});
  response.json({ status: await job.getState(), result: job.returnvalue });
});

app.get('/count', async (_, response) => response.json({ count: await queue.getCompletedCount() }));
app.get('/health/ready', (_, response) => response.json({}));

listen(app);
