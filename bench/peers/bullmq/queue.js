// The name of the queue, and the connection to Redis.

import { Redis } from 'ioredis';

export const QUEUE = 'requests';

export function connect() {
  // BullMQ asks for this: its blocking commands wait longer than a request may.
  return new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379', { maxRetriesPerRequest: null });
}
