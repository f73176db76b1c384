// Requests to the server.

import { emit, state } from "./state.js";

/** The server refused; `fields` has a message for each invalid field. */
export class ApiError extends Error {
  constructor(status, error = {}, reply = {}) {
    super(error.message ?? `the server answered ${status}`);
    this.status = status;
    this.code = error.code ?? "";
    this.fields = error.fields ?? {};
    this.dispatch = reply.dispatch ?? null;
  }
}

const FREE = new Set(["session", "login", "logout", "preview"]);

const request = async (method, path, { params = {}, body, signal } = {}) => {
  const query = new URLSearchParams();
  if (!FREE.has(path)) query.set("microgrid", state.microgrid);
  for (const [name, value] of Object.entries(params))
    for (const each of Array.isArray(value) ? value : [value])
      if (each !== null && each !== undefined && each !== "") query.append(name, each);
  const headers = method === "GET" ? {} : { "X-CSRF": "1", "Content-Type": "application/json" };
  let response, reply = {};
  try {
    response = await fetch(`/api/${path}?${query}`, {
      method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.status !== 204) reply = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: "The server cannot be reached." });
  }
  if (response.ok) return reply;
  const error = new ApiError(response.status, reply.error, reply);
  if (error.code === "login_required") emit("signed-out");
  throw error;
};

export const get = (path, params, signal) => request("GET", path, { params, signal });
export const post = (path, body) => request("POST", path, { body });
export const patch = (path, body) => request("PATCH", path, { body });
export const remove = (path, params) => request("DELETE", path, { params });
