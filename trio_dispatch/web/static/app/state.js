// What all parts of the page share: the session, the microgrid, the time zone and the clock.

import { zoneByName } from "../chart/zone.js";

const LOCAL = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** Settings that a browser keeps. */
export const settings = {
  get: (name, otherwise = "") => localStorage.getItem(`trio-dispatch.${name}`) ?? otherwise,
  set: (name, value) => localStorage.setItem(`trio-dispatch.${name}`, value),
};

export const zones = [...new Set([LOCAL, "UTC"])];

export const state = {
  session: { signed_in: false },
  microgrid: null,
  zone: zoneByName(zones.includes(settings.get("zone")) ? settings.get("zone") : LOCAL),
  version: 0,
  skew: 0, // the server's clock compared with the browser's
};

export const now = () => Date.now() + state.skew;
export const canWrite = () => state.session.key?.rights.includes("write") ?? false;
export const setServerTime = (time) => { state.skew = time - Date.now(); };

const bus = new EventTarget();

/**
 * Events: "changes" (of the server's data), "dispatchers" (their state changed), "reload" (load
 * everything again), "sync" (the state of the connection), "signed-out", "zone", "theme", and
 * "open" (show the details of a dispatch: its `id`, and whether to `focus` them), and "details"
 * (whose are shown, or null).
 */
export const emit = (name, detail) => bus.dispatchEvent(new CustomEvent(name, { detail }));
export const on = (name, listener) => bus.addEventListener(name, (event) => listener(event.detail));
