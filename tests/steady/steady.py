"""A stock librdkafka application that writes and later reads: BOOTSTRAP TOPIC PARTITIONS STOP-FILE.

Sends numbered records until STOP-FILE exists; prints "acked N" as it goes and "stall MS" for each time longer
than 100 ms without an acknowledgement. Then reads everything back and prints "OK N": every record once, in
order, at the offset that was acknowledged.
"""

import os
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

STALL_S = 0.1
BURST = 20
WAITING_MAX = 2000
READ_LIMIT_S = 120
# What librdkafka reports and gets over by itself.
TRANSIENT = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT}


class Application:
    def __init__(self, bootstrap, topic, partitions):
        self.bootstrap, self.topic = bootstrap, topic
        self.offsets = [[] for _ in range(partitions)]
        self.sent = 0
        self.last = None

    def acked(self):
        return sum(map(len, self.offsets))

    def delivered(self, error, message):
        assert error is None, error
        now = time.monotonic()
        if self.last is not None and now - self.last > STALL_S:
            print("stall", int((now - self.last) * 1000), flush=True)
        self.last = now
        self.offsets[message.partition()].append(message.offset())

    def produce(self, stop):
        # Idempotence is what an application that counts its records sets; all else is default.
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True})
        said = time.monotonic()
        while not os.path.exists(stop):
            for _ in range(BURST):
                if self.sent - self.acked() >= WAITING_MAX:
                    break
                n = self.sent
                producer.produce(
                    self.topic,
                    b"x" * (n % 500),
                    key=str(n),
                    partition=n % len(self.offsets),
                    on_delivery=self.delivered,
                )
                self.sent += 1
            producer.poll(0.005)
            if time.monotonic() - said > STALL_S:
                said = time.monotonic()
                print("acked", self.acked(), flush=True)
        assert producer.flush(READ_LIMIT_S) == 0
        assert self.acked() == self.sent, f"{self.acked()} of {self.sent} acknowledged"

    def consume(self):
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "none", "enable.auto.commit": False})
        all_partitions = [TopicPartition(self.topic, p, OFFSET_BEGINNING) for p in range(len(self.offsets))]
        consumer.assign(all_partitions)
        following = [0] * len(self.offsets)
        end = time.monotonic() + READ_LIMIT_S
        while sum(following) < self.sent:
            assert time.monotonic() < end, f"{sum(following)} of {self.sent} read"
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                assert message.error().code() in TRANSIENT, message.error()
                continue
            p = message.partition()
            n = following[p] * len(self.offsets) + p
            assert message.key() == str(n).encode(), f"record {n} of partition {p} is {message.key()}"
            assert message.offset() == self.offsets[p][following[p]], f"offset of {n}: {message.offset()}"
            following[p] += 1
        for p, count in enumerate(following):
            assert consumer.get_watermark_offsets(TopicPartition(self.topic, p), 30) == (0, count)
        consumer.close()


def main(bootstrap, topic, partitions, stop):
    application = Application(bootstrap, topic, int(partitions))
    application.produce(stop)
    application.consume()
    print("OK", application.sent, flush=True)


main(*sys.argv[1:])
