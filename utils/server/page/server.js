"use strict";
/* The local page: uploads, the list of jobs, and what can be done with them. */
(() => {
  const byId = (id) => document.getElementById(id);
  const uploads = new Map(); // by number: {id, name, num_bytes, sent, error, request}
  let jobs = [];
  let numUploads = 0;

  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function say(words) {
    const toast = byId("said");
    toast.textContent = words;
    toast.classList.add("shown");
    clearTimeout(say.timer);
    say.timer = setTimeout(() => toast.classList.remove("shown"), 4000);
  }

  function clock(seconds) {
    const whole = Math.round(seconds);
    const two = (number) => String(number).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  }

  function plural(count, word, words = `${word}s`) {
    return `${count} ${count === 1 ? word : words}`;
  }

  function size(bytes) {
    if (bytes < 1e5) return `${Math.ceil(bytes / 1e3)} kB`;
    return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
  }

  async function ask(method, address, content) {
    try {
      const body = content === undefined ? undefined : JSON.stringify(content);
      const answer = await fetch(address, { method, body });
      if (!answer.ok) say((await answer.json()).error);
      return answer.ok;
    } catch {
      say("The server does not answer");
      return false;
    }
  }

  function upload(file) {
    const one = { id: `upload-${numUploads++}`, name: file.name, num_bytes: file.size, sent: 0, error: "" };
    const query = new URLSearchParams({ name: file.name, model: byId("model").value });
    const request = new XMLHttpRequest(); // fetch tells nothing of how much was sent
    one.request = request;
    uploads.set(one.id, one);
    request.upload.onprogress = (event) => {
      one.sent = event.loaded;
      show();
    };
    const fail = (error) => {
      one.error = error;
      show();
    };
    request.onload = () => {
      if (request.status === 201) uploads.delete(one.id);
      else fail(errorOf(request));
      show();
    };
    request.onerror = () => fail("the server closed the connection: the file may be too large, or its disk full");
    request.onabort = () => {
      uploads.delete(one.id);
      show();
    };
    request.open("PUT", `/videos?${query}`);
    request.send(file);
    show();
  }

  function errorOf(request) {
    try {
      return JSON.parse(request.responseText).error;
    } catch {
      return `the server answered ${request.status}`;
    }
  }

  function button(label, name, action, className = "") {
    const made = element("button", { textContent: label, className, onclick: action });
    made.setAttribute("aria-label", `${label}: ${name}`);
    return made;
  }

  function factsOf(job) {
    const facts = [];
    const { progress } = job;
    if (job.state === "running" && progress) {
      facts.push(progress.stage);
      if (progress.length_s) facts.push(`${clock(progress.time_s)} of ${clock(progress.length_s)}`);
      if (progress.length_s) facts.push(`${plural(progress.num_faces, "face")} so far`);
    } else if (job.state === "done") {
      facts.push(clock(job.duration_s), plural(job.num_people, "person", "people"));
      facts.push(`${clock(job.speaking_s)} of speech`);
    } else facts.push(size(job.num_bytes));
    if (job.model !== "auto") facts.push(job.model);
    if (job.threshold) facts.push(`from a score of ${job.threshold}`);
    if (job.error) facts.push(job.error);
    return facts.join(" · ");
  }

  function actionsOf(job) {
    const made = [];
    if (job.state === "done") {
      const link = element("a", { className: "button", href: `/jobs/${job.id}/results/report.html`, textContent: "Open" });
      link.setAttribute("aria-label", `Open the report of ${job.name}`);
      made.push(link);
    }
    if (job.state === "waiting" || job.state === "running") {
      made.push(button("Cancel", job.name, () => ask("POST", `/jobs/${job.id}/cancel`)));
      return made;
    }
    made.push(button("Run again", job.name, () => openAgain(job)));
    made.push(button("Delete", job.name, () => openDelete(job)));
    return made;
  }

  function bar(name, value, max) {
    const made = element("progress", max ? { max, value } : {});
    made.setAttribute("aria-label", `Progress of ${name}`);
    return made;
  }

  function row(id, state, name, words, actions, progress) {
    const item = element("li", { className: "job", id });
    item.dataset.state = state;
    const facts = element("div", { className: "job-facts" });
    facts.append(element("span", { className: "state", textContent: state }), words);
    item.append(element("div", { className: "job-name", textContent: name }), facts);
    item.append(element("div", { className: "job-actions" }, ...actions));
    if (progress) item.append(progress);
    return item;
  }

  function uploadRow(one) {
    if (one.error) {
      const drop = () => {
        uploads.delete(one.id);
        show();
      };
      return row(one.id, "failed", one.name, `not uploaded: ${one.error}`, [button("Remove", one.name, drop)]);
    }
    const words = `${size(one.sent)} of ${size(one.num_bytes)}`;
    const cancel = button("Cancel", one.name, () => one.request.abort());
    return row(one.id, "uploading", one.name, words, [cancel], bar(one.name, one.sent, one.num_bytes));
  }

  function jobRow(job) {
    const { progress } = job;
    const moves = job.state === "running" && bar(job.name, progress?.time_s ?? 0, progress?.length_s);
    return row(job.id, job.state, job.name, factsOf(job), actionsOf(job), moves);
  }

  /** Show the list; rows that are as before stay, and with them the focus. */
  function show() {
    const rows = [...[...uploads.values()].reverse().map(uploadRow), ...jobs.map(jobRow)];
    const list = byId("list");
    const focused = document.activeElement?.getAttribute?.("aria-label");
    const inRow = document.activeElement?.closest?.(".job")?.id;
    const before = new Map([...list.children].map((item) => [item.id, item]));
    const kept = rows.map((item) => {
      const old = before.get(item.id);
      return old && old.isEqualNode(item) && old.querySelector("progress")?.value === item.querySelector("progress")?.value ? old : item;
    });
    if (kept.length !== list.children.length || kept.some((item, place) => item !== list.children[place])) {
      list.replaceChildren(...kept);
      const again = inRow && [...(byId(inRow)?.querySelectorAll("button, a") ?? [])];
      if (again) (again.find((one) => one.getAttribute("aria-label") === focused) ?? again[0])?.focus();
    }
    byId("empty").hidden = rows.length > 0;
  }

  function answerOf(dialog) {
    return new Promise((resolve) => {
      dialog.returnValue = "no";
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
      dialog.showModal();
    });
  }

  async function openAgain(job) {
    byId("again-name").textContent = job.name;
    byId("again-model").value = job.model;
    byId("again-threshold").value = job.threshold;
    if (!(await answerOf(byId("again")))) return;
    const threshold = Number(byId("again-threshold").value);
    await ask("POST", `/jobs/${job.id}/again`, { model: byId("again-model").value, threshold });
  }

  async function openDelete(job) {
    byId("delete-name").textContent = job.name;
    if (await answerOf(byId("delete"))) await ask("DELETE", `/jobs/${job.id}`);
  }

  function listen() {
    const events = new EventSource("/events"); // it connects again by itself
    events.onmessage = (event) => {
      jobs = JSON.parse(event.data);
      byId("lost").hidden = true;
      show();
    };
    events.onerror = () => {
      byId("lost").hidden = false;
    };
    events.onopen = () => {
      byId("lost").hidden = true;
    };
  }

  function startTheme() {
    const root = document.documentElement;
    const kept = localStorage.getItem("talknet-theme");
    if (kept) root.dataset.theme = kept;
    byId("theme").onclick = () => {
      const dark = getComputedStyle(root).getPropertyValue("--scheme").trim() === "dark";
      root.dataset.theme = dark ? "light" : "dark";
      localStorage.setItem("talknet-theme", root.dataset.theme);
    };
  }

  function startDrop() {
    const drop = byId("drop");
    byId("choose").onclick = () => byId("files").click();
    byId("files").onchange = (event) => {
      for (const file of event.target.files) upload(file);
      event.target.value = "";
    };
    document.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
    document.addEventListener("dragleave", () => drop.classList.remove("over"));
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      for (const file of event.dataTransfer.files) upload(file);
    });
  }

  async function start() {
    startTheme();
    const { models } = await (await fetch("/settings")).json();
    for (const select of document.querySelectorAll(".models")) {
      for (const name of models) select.append(element("option", { value: name, textContent: name }));
    }
    startDrop();
    listen();
    window.addEventListener("beforeunload", (event) => {
      if ([...uploads.values()].some((one) => !one.error)) event.preventDefault();
    });
    document.documentElement.dataset.ready = "true";
  }

  start();
})();
