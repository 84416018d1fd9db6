package io.github.holdfast.client.conformance;

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Drives the client as the conformance suite tells it to: a JSON request a line on standard input,
 * a JSON answer a line on standard output; see clients/conformance/PROTOCOL.md.
 */
public final class Runner {
  private static final Gson GSON = new Gson();

  private Runner() {}

  /** Works until standard input ends. */
  public static void main(String[] args) throws IOException, InterruptedException {
    PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    Operations operations = new Operations();
    ExecutorService requests = Executors.newCachedThreadPool();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject request = GSON.fromJson(line, JsonObject.class);
      requests.execute(() -> {
        JsonObject answer = operations.answer(request);
        answer.add("id", request.get("id"));
        synchronized (answers) {
          answers.println(GSON.toJson(answer));
          answers.flush();
        }
      });
    }
    operations.closeAll();
    requests.shutdown();
    requests.awaitTermination(3, TimeUnit.SECONDS);
    System.exit(0); // the JDK's HTTP client has threads of its own
  }
}
