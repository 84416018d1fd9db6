package io.github.holdfast.client;

import java.util.concurrent.ThreadFactory;
import java.util.concurrent.atomic.AtomicInteger;

/** Makes the threads of one pool of a client, and knows them again. */
final class Daemons implements ThreadFactory {
  private final String name;
  private final AtomicInteger count = new AtomicInteger();

  /** A factory whose threads have that name and a number. */
  Daemons(String name) {
    this.name = name;
  }

  private static final class Daemon extends Thread {
    private final Daemons maker;

    Daemon(Daemons maker, Runnable task, String name) {
      // Without the thread-locals of whoever happens to call first: the timer lives as long as the
      // client. For the same reason its class loader is this library's.
      super(null, task, name, 0, false);
      this.maker = maker;
      setContextClassLoader(HoldfastClient.class.getClassLoader());
      setDaemon(true);
    }
  }

  @Override
  public Thread newThread(Runnable task) {
    return new Daemon(this, task, name + "-" + count.incrementAndGet());
  }

  /** Reports whether the present thread is one of these. */
  boolean current() {
    return Thread.currentThread() instanceof Daemon d && d.maker == this;
  }
}
