// The page: log-in, views and settings.

import { make } from "../chart/elements.js";
import { zoneByName } from "../chart/zone.js";
import { resetActivity } from "./activity.js";
import { get, post } from "./api.js";
import { closeDetails, openDetails } from "./details.js";
import { openDispatchers } from "./dispatchers.js";
import { create } from "./editor.js";
import { openList } from "./list.js";
import { connect, disconnect } from "./live.js";
import { report } from "./notices.js";
import { openPlan, resetPlan } from "./plan.js";
import { canWrite, emit, on, settings, state, zones } from "./state.js";

const element = (id) => document.getElementById(id);
const VIEWS = { plan: openPlan, dispatches: openList, activity: () => {}, dispatchers: openDispatchers };

// The fragment of the address names the view, and the dispatch whose details are open: #/plan/17.
// It is not the id of an element, to which the browser would move the focus.

let focusNext = null;
const parts = () => {
  const [view, id] = location.hash.slice(2).split("/");
  return [view in VIEWS ? view : "plan", /^\d+$/.test(id ?? "") ? Number(id) : null];
};
const route = () => {
  const [view, id] = parts();
  for (const each of Object.keys(VIEWS)) {
    const changed = element(each).hidden !== (each !== view);
    element(each).hidden = each !== view;
    if (changed && each === view && state.session.signed_in) VIEWS[each]();
  }
  for (const link of document.querySelectorAll("nav a"))
    if (link.hash === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  if (id === null) closeDetails(); else openDetails(id, focusNext ?? view !== "plan");
  focusNext = null;
};
addEventListener("hashchange", route);
on("open", ({ id, focus }) => {
  const [view, shown] = parts();
  focusNext = focus;
  if (shown === id) route(); else location.hash = `/${view}/${id}`;
});
on("details", (id) => {
  const [view, shown] = parts();
  if (id === null && shown !== null) location.hash = `/${view}`;
});

// The session.

const showLogin = (message = "") => {
  disconnect();
  state.session = { signed_in: false };
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  element("app").hidden = true;
  element("login").hidden = false;
  element("login-error").textContent = message;
  element("key").focus();
};

const begin = (session) => {
  state.session = session;
  element("login").hidden = true;
  element("app").hidden = false;
  element("who").textContent = session.key.name || "Settings";
  element("rights").textContent = canWrite() ? `trio-dispatch ${session.version}`
    : `This key may look, not change anything. trio-dispatch ${session.version}`;
  element("create").hidden = !canWrite();
  element("logout").hidden = !session.keys_required;
  offerMicrogrids(session);
  resetPlan();
  resetActivity();
  for (const view of Object.keys(VIEWS)) element(view).hidden = true;
  connect();
  route();
};

const offerMicrogrids = (session) => {
  const saved = Number(settings.get("microgrid")), known = session.microgrids;
  if (!known.includes(state.microgrid)) {
    const usable = known.includes(saved) || (session.any_microgrid && saved);
    state.microgrid = usable ? saved : known[0] ?? 1;
  }
  const input = session.any_microgrid
    ? make("input", { id: "microgrid", type: "number", min: "1", list: "microgrids", value: String(state.microgrid) })
    : make("select", { id: "microgrid" }, ...known.map((id) => make("option", { value: id }, id)));
  input.value = String(state.microgrid);
  input.addEventListener("change", () => {
    if (!Number(input.value)) return;
    state.microgrid = Number(input.value);
    settings.set("microgrid", state.microgrid);
    closeDetails();
    begin(state.session);
  });
  element("microgrid-place").replaceChildren(input,
    make("datalist", { id: "microgrids" }, ...known.map((id) => make("option", { value: id }))));
};

element("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = element("key"), secret = element("secret");
  element("login-error").textContent = "";
  try {
    const body = { key: key.value, ...(secret.value ? { secret: secret.value } : {}) };
    const session = await post("login", body);
    key.value = secret.value = "";
    begin(session);
  } catch (error) {
    if (!("code" in error)) throw error;
    element("login-error").textContent = error.code === "invalid_key"
      ? "This key is not valid." : error.message;
    key.select();
  }
});
element("logout").addEventListener("click", async () => {
  try {
    await post("logout");
    showLogin();
  } catch (error) {
    report(error);
  }
});
on("signed-out", () => {
  if (element("login").hidden) showLogin("Your session has ended. Log in again.");
});
element("create").addEventListener("click", () => create());

// Settings.

const theme = element("theme"), zone = element("zone");
const applyTheme = () => {
  if (theme.value) document.documentElement.dataset.theme = theme.value;
  else delete document.documentElement.dataset.theme;
  emit("theme");
};
theme.value = settings.get("theme");
theme.addEventListener("change", () => {
  settings.set("theme", theme.value);
  applyTheme();
});
zone.append(...zones.map((name) => make("option", { value: name }, name)));
zone.value = state.zone.name;
zone.addEventListener("change", () => {
  settings.set("zone", zone.value);
  state.zone = zoneByName(zone.value);
  emit("zone");
});
document.addEventListener("click", (event) => {
  if (!element("menu").contains(event.target)) element("menu").open = false;
});
element("menu").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  element("menu").open = false;
  element("menu").querySelector("summary").focus();
});
applyTheme();

const start = async () => {
  try {
    const session = await get("session");
    if (session.signed_in) begin(session); else showLogin();
  } catch {
    setTimeout(start, 2000);
  }
};
start();
