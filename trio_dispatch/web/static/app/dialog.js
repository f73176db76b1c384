// Modal dialogs.

import { make } from "../chart/elements.js";

/**
 * Open a dialog: a heading, content, an error, and buttons below.  Return its element with
 * `finish(value)`; `done` is a promise of the value, null if it was cancelled.
 */
export const openDialog = (title, { className = "", content, action, danger = false, submit }) => {
  const error = make("p", { class: "error", role: "alert" });
  const accept = make("button", { class: danger ? "danger" : "primary" }, action);
  const cancel = make("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = make("form", { novalidate: true },
    make("h2", { id: "dialog-title" }, title), content, error,
    make("div", { class: "buttons" }, cancel, accept));
  const dialog = make("dialog", { class: className, "aria-labelledby": "dialog-title" }, form);
  let value = null;
  dialog.finish = (result) => {
    value = result;
    dialog.close();
  };
  dialog.error = error;
  dialog.accept = accept;
  dialog.done = new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(value);
    });
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    error.textContent = "";
    accept.disabled = true;
    try {
      await submit(dialog);
    } catch (problem) {
      if (!("code" in problem)) throw problem;
      error.textContent = problem.message;
    } finally {
      accept.disabled = false;
    }
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
};
