package io.github.holdfast.client;

import io.github.holdfast.client.testing.FakeBroker;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Measures a cached call against a look-up in a map under its lock, by turns in one process, and
 * prints the ratio of the medians. Fails above the most that is promised.
 */
public final class CostBench {
  private static final int ROUNDS = 15;
  private static final int WARM = 5;
  private static final int CALLS = 1_000_000;
  private static final double PROMISED = 5;

  /** What is measured. */
  private interface Lookup {
    String get() throws Exception;
  }

  private CostBench() {}

  /** Measures and prints. */
  public static void main(String[] args) throws Exception {
    Map<String, String> map = new HashMap<>();
    for (int i = 0; i < 100; i++) {
      map.put("acme/automation-" + i + "/jira", "token-" + i);
    }
    ReentrantLock lock = new ReentrantLock();
    String[] keys = map.keySet().toArray(String[]::new);
    int[] turn = {0};
    try (FakeBroker broker = FakeBroker.start();
        HoldfastClient fakes = broker.client();
        // The fake's own client has a clock that tests set: this one has the system's.
        HoldfastClient client = HoldfastClient.builder(fakes.channel()).build()) {
      TokenSource source = client.tokenSource("acme/automation/jira").build();
      Lookup plain = () -> {
        lock.lock();
        try {
          return map.get(keys[turn[0]++ % keys.length]);
        } finally {
          lock.unlock();
        }
      };
      Lookup cached = () -> source.get().value();
      double[] plains = new double[ROUNDS];
      double[] cacheds = new double[ROUNDS];
      for (int round = -WARM; round < ROUNDS; round++) {
        double p = measure(plain);
        double c = measure(cached);
        if (round >= 0) {
          plains[round] = p;
          cacheds[round] = c;
        }
      }
      double ratio = median(cacheds) / median(plains);
      System.out.printf("cached call %.1f ns, map look-up under its lock %.1f ns: ratio %.2f (at most %.0f)%n",
          median(cacheds), median(plains), ratio, PROMISED);
      if (ratio > PROMISED) {
        System.exit(1);
      }
    }
  }

  private static double measure(Lookup l) throws Exception {
    long sum = 0;
    long began = System.nanoTime();
    for (int i = 0; i < CALLS; i++) {
      sum += l.get().length();
    }
    long took = System.nanoTime() - began;
    if (sum == 0) {
      throw new IllegalStateException("nothing was looked up");
    }
    return (double) took / CALLS;
  }

  private static double median(double[] of) {
    Arrays.sort(of);
    return of[of.length / 2];
  }
}
