// Reads lines "key version request|response hex" and answers each with the bytes that Kafka's own classes write after
// reading these; the line "errors" is answered with all error codes. The codec's tests start it where a Kafka client jar is named (tests/codec/facts.rs).

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.MessageUtil;

public class KafkaMessages {
    public static void main(String[] arguments) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            if (line.equals("errors")) {
                System.out.println(errors());
                continue;
            }
            String[] words = line.split(" ", 4);
            var type = ApiMessageType.fromApiKey(Short.parseShort(words[0]));
            short version = Short.parseShort(words[1]);
            ApiMessage message = words[2].equals("request") ? type.newRequest() : type.newResponse();
            var input = ByteBuffer.wrap(HexFormat.of().parseHex(words[3]));
            message.read(new ByteBufferAccessor(input), version);
            ByteBuffer output = MessageUtil.toByteBufferAccessor(message, version).buffer();
            byte[] bytes = new byte[output.remaining()];
            output.get(bytes);
            System.out.println(input.remaining() + " " + HexFormat.of().formatHex(bytes));
        }
    }

    private static String errors() {
        try {
            Class.forName("org.slf4j.LoggerFactory");
        } catch (ClassNotFoundException absent) {
            return "unavailable: no slf4j beside the client jar";
        }
        var texts = new ArrayList<String>();
        for (Errors error : Errors.values()) {
            boolean retriable = error.exception() instanceof RetriableException;
            texts.add(error.code() + " " + error.name() + " " + retriable);
        }
        return String.join(", ", texts);
    }
}
