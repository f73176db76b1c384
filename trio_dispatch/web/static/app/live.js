// The event stream: what changes, and whether the page is connected.

import { get } from "./api.js";
import { emit, setServerTime, state } from "./state.js";

const HIDDEN = 60_000, LONGEST_PAUSE = 10_000;

let source = null, pause = 500, retry = 0, hiding = 0, lost = null;

/** Tell whether the page is up to date; `since` is when it lost the connection. */
const tell = (phase, since = null, error = "") => emit("sync", { phase, since, error });

const disconnected = () => {
  lost ??= Date.now() + state.skew;
  tell("disconnected", lost);
};

export const disconnect = () => {
  clearTimeout(retry);
  source?.close();
  source = null;
};

export const connect = () => {
  disconnect();
  source = new EventSource(`/api/events?microgrid=${state.microgrid}`);
  const opened = source;
  const listen = (name, listener) => source.addEventListener(name, (event) => {
    if (opened === source) listener(JSON.parse(event.data));
  });
  listen("hello", (hello) => {
    pause = 500;
    lost = null;
    setServerTime(Date.parse(hello.now));
    state.version = hello.version;
    showSync(hello.sync);
    if (!hello.resumed) emit("reload");
  });
  listen("changes", (changes) => {
    state.version = changes.version;
    emit("changes", changes);
    if (changes.dispatchers) emit("dispatchers");
  });
  listen("sync", showSync);
  listen("reset", (reset) => {
    state.version = reset.version;
    emit("reload");
  });
  listen("end", ({ reason }) => {
    disconnect();
    disconnected();
    if (reason === "stopping") again(); else checkSession();
  });
  source.addEventListener("error", () => {
    if (opened !== source) return;
    disconnected();
    if (source.readyState === EventSource.CLOSED) again();
  });
};

const showSync = (sync) => tell(sync.phase, sync.offline_since && Date.parse(sync.offline_since),
  sync.error ?? "");

const again = () => {
  disconnect();
  retry = setTimeout(checkSession, pause * (0.75 + Math.random() / 2));
  pause = Math.min(2 * pause, LONGEST_PAUSE);
};

const checkSession = async () => {
  try {
    const session = await get("session");
    if (session.signed_in) connect(); else emit("signed-out");
  } catch {
    again();
  }
};

// A hidden page gives its connection back after a while; a browser has few for each server.
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(disconnect, HIDDEN);
  else if (!source && state.session.signed_in) connect();
});
