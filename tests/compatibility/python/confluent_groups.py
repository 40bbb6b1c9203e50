"""Groups of confluent-kafka against a broker: BOOTSTRAP TOPIC. Prints OK."""

import sys

from confluent import member, produce, until
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

RECORDS = 600
PARTITIONS = 6


def classic(bootstrap, group, strategy, **settings):
    return member(bootstrap, group, **{"partition.assignment.strategy": strategy, **settings})


def shared(bootstrap, topic, strategy):
    """Three members share the partitions; one leaves, and all records are read."""
    group = f"{topic}-{strategy}"
    members = [classic(bootstrap, group, strategy) for _ in range(3)]
    for one in members:
        one.subscribe([topic])
    read = set()

    def poll(one):
        message = one.poll(0.05)
        if message is not None and message.error() is None:
            read.add(int(message.value()))
        return len(one.assignment())

    until("a share for each", lambda: [poll(one) for one in members] == [2, 2, 2])
    members.pop().close()
    until("a share for each that is left", lambda: [poll(one) for one in members] == [3, 3])
    until("all records", lambda: [poll(one) for one in members] and len(read) == RECORDS)
    for one in members:
        one.commit(asynchronous=False)
        one.close()
    return group


def static(bootstrap, topic):
    """A static member that comes back within its session keeps its partitions."""
    group = f"{topic}-static"
    for _ in range(2):
        one = classic(bootstrap, group, "range", **{"group.instance.id": "one"})
        one.subscribe([topic])
        until("all partitions", lambda: one.poll(0.05) is not None and len(one.assignment()) == PARTITIONS)
        one.close()


def tools(bootstrap, topic, group):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    listed = admin.list_consumer_groups().result(30)
    assert not listed.errors and group in {found.group_id for found in listed.valid}, listed.valid
    described = admin.describe_consumer_groups([group])[group].result(30)
    assert described.state.name == "EMPTY" and not described.members, described.state
    asked = [ConsumerGroupTopicPartitions(group)]
    offsets = admin.list_consumer_group_offsets(asked)[group].result(30).topic_partitions
    assert sum(found.offset for found in offsets) == RECORDS, offsets
    moved = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 7)])]
    admin.alter_consumer_group_offsets(moved)[group].result(30)
    one = classic(bootstrap, group, "range")
    found = one.committed([TopicPartition(topic, 0)], 30)
    assert found[0].offset == 7, found
    one.close()
    admin.delete_consumer_groups([group])[group].result(30)
    listed = admin.list_consumer_groups().result(30)
    assert group not in {found.group_id for found in listed.valid}


def main(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        made.result(60)
    produce(bootstrap, topic, range(RECORDS), PARTITIONS)
    for strategy in ("range", "roundrobin", "cooperative-sticky"):
        group = shared(bootstrap, topic, strategy)
    static(bootstrap, topic)
    tools(bootstrap, topic, group)
    print("OK")


main(*sys.argv[1:])
