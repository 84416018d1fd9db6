package io.github.holdfast.client;

import io.github.holdfast.v1.GrantAddress;
import io.github.holdfast.v1.GrantSelector;
import java.util.regex.Pattern;

/** How people write grants. */
final class Grants {
  private static final Pattern ID = Pattern.compile("grt_[a-z2-7]{26}");
  private static final Pattern SEGMENT = Pattern.compile("[A-Za-z0-9@._+-]{1,128}");

  private Grants() {}

  /** Parses a grant's id or address. */
  static GrantSelector selector(String grant) {
    String text = grant == null ? "" : grant; // e.g. of a variable that is not set
    if (ID.matcher(text).matches()) {
      return GrantSelector.newBuilder().setId(text).build();
    }
    String[] parts = text.split("/", -1);
    boolean good = parts.length == 3 || parts.length == 4;
    for (String p : parts) {
      good = good && SEGMENT.matcher(p).matches();
    }
    if (!good) {
      throw new IllegalArgumentException("holdfast: grant " + (grant == null ? "is not set" : '"' + grant + '"')
          + ": want an id (grt_...) or tenant/subject/product[/name], each 1 to 128 of A-Z a-z 0-9 @ . _ + -");
    }
    GrantAddress.Builder a = GrantAddress.newBuilder().setTenant(parts[0]).setSubject(parts[1]).setProduct(parts[2]);
    if (parts.length == 4) {
      a.setName(parts[3]);
    }
    return GrantSelector.newBuilder().setAddress(a).build();
  }
}
