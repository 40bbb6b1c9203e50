// KafkaJS against a broker: groups and the admin client: BOOTSTRAP TOPIC. Prints OK.

const { Kafka, logLevel } = require('kafkajs')
const assert = require('node:assert')

const RECORDS = 300
const PARTITIONS = 3

async function read (kafka, topic, groupId, count) {
  const consumer = kafka.consumer({ groupId })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const values = []
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, (event) => reject(event.payload.error))
    consumer.run({
      autoCommit: true,
      eachMessage: async ({ message }) => {
        values.push(Number(message.value))
        if (values.length === count) resolve()
      }
    }).catch(reject)
  })
  await consumer.stop()
  await consumer.disconnect()
  return values.sort((one, other) => one - other)
}

async function main (bootstrap, topic) {
  const kafka = new Kafka({ clientId: 'floe', brokers: [bootstrap], logLevel: logLevel.ERROR })
  const groupId = `${topic}-group`
  const admin = kafka.admin()
  await admin.connect()
  assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] }), true)
  await admin.createPartitions({ topicPartitions: [{ topic, count: PARTITIONS }] })
  const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.strictEqual(described.partitions.length, PARTITIONS)
  const producer = kafka.producer()
  await producer.connect()
  for (const half of [0, 1]) {
    const messages = Array.from({ length: RECORDS }, (_, n) => ({ key: `${n}`, value: `${half * RECORDS + n}` }))
    await producer.send({ topic, messages })
    const expected = Array.from({ length: RECORDS }, (_, n) => half * RECORDS + n)
    assert.deepStrictEqual(await read(kafka, topic, groupId, RECORDS), expected, 'each goes on where the one before was')
  }
  await producer.disconnect()
  const { groups } = await admin.listGroups()
  assert(groups.some((group) => group.groupId === groupId))
  const { groups: [group] } = await admin.describeGroups([groupId])
  assert.strictEqual(group.state, 'Empty')
  const [offsets] = await admin.fetchOffsets({ groupId, topics: [topic] })
  const sum = offsets.partitions.reduce((sum, { offset }) => sum + Number(offset), 0)
  assert.strictEqual(sum, 2 * RECORDS)
  await admin.resetOffsets({ groupId, topic, earliest: true })
  assert.strictEqual((await read(kafka, topic, groupId, 2 * RECORDS)).length, 2 * RECORDS)
  const { resources: [configs] } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
  assert(configs.configEntries.some(({ configName }) => configName === 'cleanup.policy'))
  await admin.alterConfigs({ resources: [{ type: 2, name: topic, configEntries: [{ name: 'retention.ms', value: '86400000' }] }] })
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '-1' }] })
  const [deleted] = (await admin.fetchTopicOffsets(topic)).filter(({ partition }) => partition === 0)
  assert.strictEqual(deleted.low, deleted.high)
  await admin.deleteGroups([groupId])
  await admin.deleteTopics({ topics: [topic] })
  assert(!(await admin.listTopics()).includes(topic))
  await admin.disconnect()
  console.log('OK')
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
