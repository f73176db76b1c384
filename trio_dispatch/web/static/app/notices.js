// Short notices, and the state of the connection.

import { make } from "../chart/elements.js";
import { timeText } from "./format.js";
import { on } from "./state.js";

const STAYS = 6000;

/** Show a notice for some seconds; screen readers read it. */
export const notify = (text, kind = "") => {
  const toast = make("p", { class: `toast ${kind}` }, text);
  const toasts = document.getElementById("toasts");
  toasts.append(toast);
  // Shown again, it is above a dialog that was opened meanwhile.
  toasts.hidePopover();
  toasts.showPopover();
  setTimeout(() => {
    toast.remove();
    if (!toasts.children.length) toasts.hidePopover();
  }, STAYS);
};

/** Show an error that no field or dialog shows. */
export const report = (error) => {
  if (error.name === "AbortError" || error.code === "login_required") return;
  if (!("code" in error)) throw error;
  if (error.code !== "unreachable") notify(error.message, "bad"); // else the banner says it
};

const PILLS = { live: "Live", connecting: "Connecting", syncing: "Loading", waiting: "No service",
  disconnected: "Disconnected" };

on("sync", ({ phase, since, error }) => {
  const pill = document.getElementById("live"), banner = document.getElementById("banner");
  pill.textContent = PILLS[phase] ?? phase;
  pill.dataset.phase = phase;
  banner.hidden = phase === "live" || (phase !== "disconnected" && !since);
  if (banner.hidden) return;
  const what = phase === "disconnected" ? "The page lost its connection to the server"
    : "The server has no contact with the dispatch service";
  const text = `${what}, since ${timeText(since)}. What you see may be outdated; `
    + `the page catches up by itself.${error ? ` Last error: ${error}` : ""}`;
  if (banner.textContent !== text) banner.textContent = text;
});
