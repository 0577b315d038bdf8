// Shows what the choice costs while one makes it. Without this, the button "Show the price" does.
"use strict";

const form = document.getElementById("choice");
const quote = document.getElementById("quote");
let timer = 0;
let asked = 0;

async function show() {
  const mine = ++asked;
  const choice = new URLSearchParams(new FormData(form));
  try {
    const answer = await fetch(`${form.dataset.quote}?${choice}`, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) throw new Error(answer.statusText);
    const page = await answer.text();
    if (mine === asked) quote.innerHTML = page;
  } catch {
    if (mine === asked) document.getElementById("ask").hidden = false;
  }
}

if (form) {
  document.getElementById("ask").hidden = true;
  form.addEventListener("change", show);
  form.addEventListener("input", (event) => {
    if (event.target.name === "amount" && event.target.value) {
      form.querySelector('[name="what"][value="credits"]').checked = true;
    }
    clearTimeout(timer);
    timer = setTimeout(show, 300);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
}
