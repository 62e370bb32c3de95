// A worker in Node.js: takes requests from RabbitMQ one by one, and publishes their results.

import { setTimeout as sleep } from "node:timers/promises";
import amqplib from "amqplib";
// JSON.parse would round big numbers.
import { isLosslessNumber, parse, stringify } from "lossless-json";

const AMQP_URL = process.env.AMQP_URL ?? "amqp://guest:guest@127.0.0.1:5672/%2f";
const KEPT_HEADERS = ["slowlane-attempt", "slowlane-run", "slowlane-type", "traceparent"];
// All headers of a message have to fit into a frame, 128 KiB, or the broker closes the connection.
const MAX_ERROR_LENGTH = 2000;

/** The work will never succeed with this data. The request fails with this code. */
class Refused extends Error {
  code = "permanent";
}

/** It is too late to begin. */
class Expired extends Refused {
  code = "expired";
}

/** Your work. It may take long, and after a crash it is done again with the same requestId. */
async function work(data) {
  if (data === "refuse") {
    throw new Refused("this data can't be processed");
  }
  return data;
}

/** The id and the data of a request. */
function read(body) {
  let request;
  try {
    request = parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (error) {
    throw new Refused(`not a request: ${error.message}`);
  }
  const { requestId, requestData } = request ?? {};
  if (typeof requestId !== "string" && !isLosslessNumber(requestId)) {
    throw new Refused("requestId is neither a text nor a number");
  }
  if (requestData === undefined) {
    throw new Refused("there is no requestData");
  }
  return { requestId, requestData };
}

/** A moment, as RFC 3339 writes it. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

/**
 * Refuses a request that has expired. One that is redelivered may have begun in time, and the broker itself takes a
 * message with an expiration out of the queue: it has a single clock.
 */
function refuseExpired({ fields, properties }) {
  const expiresAt = properties.headers?.["slowlane-expires-at"];
  const isJudgedHere = !fields.redelivered && properties.expiration === undefined;
  // What is no time does not count, though Date takes "1" for a year.
  if (isJudgedHere && TIME.test(expiresAt) && Date.parse(expiresAt) <= Date.now()) {
    throw new Expired(`not started by ${expiresAt}`);
  }
}

/** The body of a result. What is nested too deeply to be written is refused. */
function write(answer) {
  try {
    return Buffer.from(stringify(answer));
  } catch (error) {
    throw new Refused(`the result is no JSON: ${error.message}`);
  }
}

/** Publishes to the exchange `processing`, and resolves when the broker has the message in a queue. */
async function publish(channel, routingKey, request, body, more = {}) {
  const { headers = {}, messageId, correlationId } = request.properties;
  const kept = KEPT_HEADERS.filter((name) => headers[name] !== undefined);
  let isReturned = false;
  const onReturn = () => (isReturned = true);
  channel.once("return", onReturn);
  await new Promise((resolve, reject) => {
    const options = {
      contentType: "application/json",
      persistent: true,
      mandatory: true,
      messageId,
      correlationId,
      type: routingKey,
      headers: { ...Object.fromEntries(kept.map((name) => [name, headers[name]])), ...more },
    };
    channel.publish("processing", routingKey, body, options, (error) => (error ? reject(error) : resolve()));
  });
  channel.off("return", onReturn);
  if (isReturned) {
    throw new Error(`no queue takes messages with the key ${routingKey}`);
  }
}

function publishFailed(channel, request, code, message) {
  const headers = { "slowlane-reason": code, "slowlane-error": message.slice(0, MAX_ERROR_LENGTH) };
  return publish(channel, "failed", request, request.content, headers);
}

async function processRequest(channel, request) {
  let read_;
  try {
    read_ = read(request.content);
  } catch (error) {
    return publishFailed(channel, request, "malformed", error.message);
  }
  const { requestId, requestData } = read_;
  let result;
  try {
    refuseExpired(request);
    result = write({ requestId, processingResults: await work(requestData) });
  } catch (error) {
    // A RangeError is of data that are nested too deeply: no further attempt would mend that.
    if (!(error instanceof Refused || error instanceof RangeError)) {
      throw error;
    }
    const code = error instanceof Refused ? error.code : "permanent";
    result = write({ requestId, error: { code, message: error.message } });
    await publishFailed(channel, request, code, error.message);
  }
  await publish(channel, "result", request, result);
}

async function processAndAck(connection, channel, request) {
  try {
    await processRequest(channel, request);
    // Last: whatever happens before, the broker delivers the request again.
    channel.ack(request);
  } catch (error) {
    console.error(error);
    await connection.close().catch(() => {});
  }
}

/** Works until the connection is lost. */
async function run() {
  let working;
  const connection = await amqplib.connect(AMQP_URL);
  const closed = new Promise((resolve) => connection.once("close", resolve));
  connection.on("error", (error) => console.error(error.message));
  try {
    const channel = await connection.createConfirmChannel();
    channel.on("error", (error) => console.error(error.message));
    channel.once("close", () => connection.close().catch(() => {}));
    await channel.prefetch(1);
    await channel.consume("processing.requests", (request) => {
      if (request === null) {
        connection.close().catch(() => {});
        return;
      }
      working = processAndAck(connection, channel, request);
    });
  } catch (error) {
    await connection.close().catch(() => {});
    throw error;
  }
  await closed;
  // The request comes again, and its work would run twice at once.
  await working;
}

for (;;) {
  try {
    await run();
  } catch (error) {
    console.error(error.message);
  }
  await sleep(1000);
}
