// Worker on BullMQ: returns the data as the result. CONCURRENCY jobs are worked on at a time.

import { Worker } from 'bullmq';
import { connect, QUEUE } from './queue.js';

const concurrency = Number(process.env.CONCURRENCY ?? 8);
const worker = new Worker(QUEUE, async (job) => job.data.data, { connection: connect(), concurrency });
worker.on('error', (error) => console.error(error));
