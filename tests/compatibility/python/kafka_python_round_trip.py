"""kafka-python against a broker: BOOTSTRAP TOPIC. Prints OK."""

import sys

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

RECORDS = 2000
PARTITIONS = 2


def value(n):
    return b"value %d " % n + b"x" * (n % 300)


def main(bootstrap, topic):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    sent = [
        producer.send(topic, value(n), key=b"%d" % n, headers=[("n", b"%d" % n)], partition=n % PARTITIONS)
        for n in range(RECORDS)
    ]
    offsets = [future.get(60).offset for future in sent]
    producer.close()

    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=60000)
    partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    read = 0
    for message in consumer:
        n = int(message.key)
        assert (message.partition, message.offset) == (n % PARTITIONS, offsets[n]), message
        assert message.value == value(n), message
        assert list(message.headers) == [("n", b"%d" % n)], message.headers
        read += 1
        if read == RECORDS:
            break
    assert read == RECORDS, f"{read} of {RECORDS} read"
    assert consumer.end_offsets(partitions) == {p: RECORDS // PARTITIONS for p in partitions}
    consumer.close()
    admin.delete_topics([topic])
    assert topic not in admin.list_topics()
    print("OK")


main(*sys.argv[1:])
