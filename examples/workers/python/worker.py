"""A worker in Python: takes requests from RabbitMQ one by one, and publishes their results."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from decimal import Decimal

import pika

# The json of Python would round numbers: as Decimal they keep their digits.
import simplejson as json
from pika.exceptions import AMQPError

AMQP_URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f")
# In characters. All headers of a message have to fit into a frame, 128 KiB, or the broker closes the connection.
MAX_ERROR_LENGTH = 2000


class Refused(Exception):
    """The work will never succeed with this data. The request fails with this code."""

    code = "permanent"


class Expired(Refused):
    """It is too late to begin."""

    code = "expired"


def work(data):
    """Your work. It may take long, and after a crash it is done again with the same requestId.

    Numbers with a point or an exponent are Decimal."""
    if data == "refuse":
        raise Refused("this data can't be processed")
    return data


def parse(body):
    """The id and the data of a request. JSON that is none, and a request without an id, are refused."""
    try:
        request = json.loads(body.decode("utf-8-sig"), use_decimal=True)
        request_id = request["requestId"]
        data = request["requestData"]
    except Exception as error:  # Whatever it is (RecursionError is one): the next worker would die of it, too.
        raise Refused(f"not a request: {error!r}") from error
    if isinstance(request_id, bool) or not isinstance(request_id, (str, int, Decimal)):
        raise Refused("requestId is neither a text nor a number")
    return request_id, data


def refuse_expired(method, properties):
    """Refuses a request that has expired. One that is redelivered may have begun in time, and the broker itself takes a
    message with an expiration out of the queue: it has a single clock."""
    expires_at = (properties.headers or {}).get("slowlane-expires-at")
    if method.redelivered or properties.expiration is not None or not isinstance(expires_at, str):
        return
    with suppress(ValueError, TypeError):  # What is no time does not count.
        if datetime.fromisoformat(expires_at.replace("Z", "+00:00")) <= datetime.now(timezone.utc):
            raise Expired(f"not started by {expires_at}")


def to_json(answer):
    """The body of a result. What is no JSON, as NaN, is refused."""
    try:
        return json.dumps(answer, use_decimal=True, allow_nan=False).encode()
    except Exception as error:
        raise Refused(f"the result is no JSON: {error!r}") from error


class Worker:
    def __init__(self, connection, threads):
        self.connection = connection
        self.threads = threads
        self.channel = connection.channel()
        # From here on publishing waits for the broker's confirm, and raises if there is none.
        self.channel.confirm_delivery()
        self.channel.basic_qos(prefetch_count=1)

    def run(self):
        for method, properties, body in self.channel.consume("processing.requests"):
            self.process(method, properties, body)
            # Last: whatever happens before, the broker delivers the request again.
            self.channel.basic_ack(method.delivery_tag)

    def process(self, method, properties, body):
        try:
            request_id, data = parse(body)
        except Refused as refused:
            self.publish_failed(properties, body, "malformed", str(refused))
            return
        try:
            refuse_expired(method, properties)
            result = to_json({"requestId": request_id, "processingResults": self.wait_for(work, data)})
        except (Refused, RecursionError) as refused:
            error = {"code": getattr(refused, "code", Refused.code), "message": str(refused)}
            self.publish_failed(properties, body, error["code"], error["message"])
            result = to_json({"requestId": request_id, "error": error})
        self.publish("result", properties, result, {})

    def wait_for(self, function, data):
        """Calls the function in a thread, and answers the broker's heartbeats meanwhile."""
        future = self.threads.submit(function, data)
        future.add_done_callback(self.wake)
        while not future.done():
            self.connection.process_data_events(time_limit=1)
        return future.result()

    def wake(self, _):
        with suppress(AMQPError):  # The connection may be lost.
            self.connection.add_callback_threadsafe(lambda: None)

    def publish_failed(self, properties, body, code, message):
        headers = {"slowlane-reason": code, "slowlane-error": message[:MAX_ERROR_LENGTH]}
        self.publish("failed", properties, body, headers)

    def publish(self, routing_key, request, body, more):
        """Publishes to the exchange `processing`, and returns when the broker has the message in a queue."""
        kept = ("slowlane-attempt", "slowlane-run", "slowlane-type", "traceparent")
        headers = {name: value for name, value in (request.headers or {}).items() if name in kept}
        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=request.message_id,
            correlation_id=request.correlation_id,
            type=routing_key,
            headers={**headers, **more},
        )
        self.channel.basic_publish("processing", routing_key, body, properties, mandatory=True)


def main():
    while True:
        try:
            # At its end the executor waits for the work: it comes again, and would run twice at once.
            with ThreadPoolExecutor(1) as threads, pika.BlockingConnection(pika.URLParameters(AMQP_URL)) as connection:
                Worker(connection, threads).run()
        except AMQPError as error:
            print(f"connecting again: {error!r}", file=sys.stderr, flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
