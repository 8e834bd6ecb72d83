package example.trunkline;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the README shows compiles. */
final class ReadmeTest {
    private static final Pattern BLOCK = Pattern.compile("^```java\n(.*?)^```$", Pattern.MULTILINE | Pattern.DOTALL);
    private static final String AROUND =
            """
            import example.trunkline.*;
            import example.trunkline.v1.*;
            import io.grpc.*;
            import io.grpc.stub.StreamObserver;
            import java.io.File;
            import java.time.Duration;

            class Shown {
                void shown(%s) throws Exception {
                    %s
                }
            }
            """;
    private static final String GIVEN = "TrunklineClient client, GenerateRequest request";

    @TempDir
    Path classes;

    @Test
    void itsProgramsCompile() throws Exception {
        String readme = Files.readString(Path.of("../README.md"));
        List<String> blocks = BLOCK.matcher(readme).results().map((MatchResult block) -> block.group(1)).toList();
        assertEquals(4, blocks.size());
        blocks.forEach(this::compile);
    }

    private void compile(String block) {
        boolean connects = block.contains("TrunklineClient client =");
        String source = AROUND.formatted(connects ? "" : GIVEN, block);
        DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        List<String> options = List.of("-d", classes.toString());
        assertTrue(
                compiler.getTask(null, null, said, options, null, List.of(new Source(source))).call(),
                () -> said.getDiagnostics() + "\n" + source);
    }

    private static final class Source extends SimpleJavaFileObject {
        private final String text;

        Source(String text) {
            super(URI.create("string:///Shown.java"), Kind.SOURCE);
            this.text = text;
        }

        @Override
        public CharSequence getCharContent(boolean ignoreEncodingErrors) {
            return text;
        }
    }
}
