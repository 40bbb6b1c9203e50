"""What the scripts of confluent-kafka share."""

import time

from confluent_kafka import Consumer, Producer

LIMIT = 60


def produce(bootstrap, topic, numbers, partitions):
    """Each number is a record of the partition that it leaves as a remainder."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for n in numbers:
        producer.produce(topic, str(n), partition=n % partitions)
    assert producer.flush(60) == 0


def member(bootstrap, group, **settings):
    return Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, **settings})


def until(what, done):
    """Polls, which is what `done` does, until it is so."""
    end = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < end, what
