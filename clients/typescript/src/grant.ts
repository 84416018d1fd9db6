import { create } from "@bufbuild/protobuf";

import { InvalidRequest } from "./errors.js";
import { GrantAddressSchema, GrantSelectorSchema, type GrantSelector } from "./gen/holdfast/v1/grant_pb.js";

const grantId = /^grt_[a-z2-7]{26}$/;
const segment = /^[A-Za-z0-9@._+-]{1,128}$/;

/** Parses a grant's id, or its address tenant/subject/product[/name]. Throws InvalidRequest. */
export function selector(grant: string | undefined): GrantSelector {
  if (typeof grant === "string" && grantId.test(grant)) {
    return create(GrantSelectorSchema, { selector: { case: "id", value: grant } });
  }
  const parts = typeof grant === "string" ? grant.split("/") : []; // JavaScript may give none
  if ((parts.length !== 3 && parts.length !== 4) || !parts.every((p) => segment.test(p))) {
    throw new InvalidRequest({
      message: `grant ${typeof grant === "string" ? JSON.stringify(grant) : "is not set"}: want an id (grt_...) or tenant/subject/product[/name], each 1 to 128 of A-Z a-z 0-9 @ . _ + -`,
      field: "grant",
    });
  }
  const [tenant = "", subject = "", product = "", name = ""] = parts;
  const address = create(GrantAddressSchema, { tenant, subject, product, name });
  return create(GrantSelectorSchema, { selector: { case: "address", value: address } });
}
