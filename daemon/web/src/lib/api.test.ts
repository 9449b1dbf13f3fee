import { afterEach, describe, expect, it, vi } from "vitest";
import { Problem, api, problemFrom, query, whenSignedOut } from "./api";

afterEach(() => vi.unstubAllGlobals());

const answer = (status: number, body: string, headers: Record<string, string> = {}) =>
  vi.stubGlobal(
    "fetch",
    vi.fn(async () => new Response(status === 204 ? null : body, { status, headers })),
  );

describe("problem documents", () => {
  it("keeps title, detail, slug, fields and the wait", () => {
    const got = problemFrom(
      429,
      {
        type: "urn:lucid:problem:too-many-attempts",
        title: "Too many attempts",
        status: 429,
        detail: "wait 30 s",
        errors: [{ field: "code", message: "wrong length" }],
      },
      "30",
    );
    expect(got).toMatchObject({
      slug: "too-many-attempts",
      title: "Too many attempts",
      detail: "wait 30 s",
      fields: { code: "wrong length" },
      retryAfterS: 30,
    });
  });
  it("an answer that is no problem document still names its status", () => {
    expect(problemFrom(502, "<html>", null)).toMatchObject({ title: "The device answered 502", retryAfterS: null });
    expect(problemFrom(500, { errors: [null, { field: 1 }] }, "soon").fields).toEqual({});
  });
});

describe("calls", () => {
  it("401 outside sign-in signs the page out; in sign-in it is an answer", async () => {
    const out = vi.fn();
    whenSignedOut(out);
    answer(401, JSON.stringify({ type: "urn:lucid:problem:wrong-credentials", title: "Wrong" }));
    await expect(api.signIn("a", "b")).rejects.toMatchObject({ slug: "wrong-credentials" });
    expect(out).not.toHaveBeenCalled();
    await expect(api.health()).rejects.toBeInstanceOf(Problem);
    expect(out).toHaveBeenCalledOnce();
  });
  it("a device that does not answer is told apart from one that refuses", async () => {
    vi.stubGlobal(
      "fetch",
      vi.fn(async () => Promise.reject(new TypeError("failed to fetch"))),
    );
    await expect(api.health()).rejects.toMatchObject({ unreachable: true });
  });
  it("no content is no content", async () => {
    answer(204, "");
    await expect(api.signOut()).resolves.toBeUndefined();
  });
});

describe("query", () => {
  it("leaves out what is not set", () => {
    expect(query({ a: "x y", b: null, c: undefined, d: "", e: 0 })).toBe("?a=x+y&e=0");
    expect(query({})).toBe("");
  });
});
