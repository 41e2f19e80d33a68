'use strict';
const study = JSON.parse(document.getElementById('study').textContent);
const REST = 20 * 60 * 1000, RETRY = 3000, ZOOMS = [1, 2, 4], COLUMNS = 8, FINAL = [400, 404, 409];
const $ = id => document.getElementById(id);
const random = bytes => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), b => b.toString(16).padStart(2, '0')).join('');
const memory = {
  get(name) { try { return JSON.parse(localStorage.getItem(name)); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(name, JSON.stringify(value)); } catch { /* Private windows. */ } },
};
const place = `backplate ${study.study} ${study.voter || 'file'}`;
const state = memory.get(place) || {
  voter: study.voter || random(16),
  plan: crypto.getRandomValues(new Uint32Array(1))[0] % study.plans.length,
  log: [], pending: [], refused: [],
};
const trials = study.plans[Math.min(state.plan, study.plans.length - 1)].map(([index, swapped], number) => {
  const [item, question, first, second, middle, width, height, frames, rate] = study.items[index];
  const [left, right] = swapped ? [second, first] : [first, second];
  return { number, item, question, left, right, middle, width, height, frames, rate };
});
const done = new Map(study.done.map(number => [number, null]));
for (const vote of state.log) apply(vote);
const over = document.querySelector('.over');
const address = token => study.pictures ? study.pictures[token] : `pictures/${token}.png`;
let current = null, begun = false, ready = false, shownAt = 0, restedAt = performance.now(), sending = false;
let zoom = 1, centre = [0.5, 0.5], flickers = 0, frame = 0;

function apply(vote) {
  if (vote.choice === 'undone') done.delete(vote.number); else done.set(vote.number, vote);
}
function keep() { memory.set(place, state); }

function next() {
  current = trials.find(trial => !done.has(trial.number)) || null;
  $('progress').max = trials.length;
  $('progress').value = done.size;
  $('count').textContent = `${done.size} of ${trials.length}`;
  $('undo').disabled = !lastVote();
  if (!current) return finish();
  if (performance.now() - restedAt > REST) return rest();
  $('question').textContent = study.questions[current.question];
  $('middle').hidden = !current.middle;
  centre = [0.5, 0.5];
  flickers = frame = 0;
  over.style.visibility = 'hidden';
  show(current);
  const after = trials.find(trial => trial.number > current.number && !done.has(trial.number));
  if (after) for (const token of [after.left, after.right, after.middle]) if (token) new Image().src = address(token);
}

async function show(trial) {
  ready = false;
  const pictures = [['left', trial.left], ['right', trial.right], ...(trial.middle ? [['middle', trial.middle]] : [])]
    .map(([side, token]) => [$(side).querySelector('img'), token]);
  pictures.push([over, trial.right]);
  for (const [image, token] of pictures) { image.style.opacity = 0; image.src = address(token); }
  draw();
  try {
    await Promise.all(pictures.map(([image]) => image.decode()));
  } catch (error) {
    if (current === trial) { trouble('A picture could not be loaded; trying again.'); setTimeout(() => current === trial && show(trial), RETRY); }
    return;
  }
  if (current !== trial) return;
  for (const [image] of pictures) image.style.opacity = 1;
  if (!state.pending.length) trouble('');
  ready = true;
  shownAt = performance.now();
  draw();
}

// One picture pixel is one pixel of the screen at 1:1, and pictures begin at whole ones, whatever the screen's ratio.
function draw() {
  if (!current) return;
  const { width, height, frames } = current, ratio = devicePixelRatio, scale = zoom / ratio;
  const columns = Math.min(frames, COLUMNS), rows = Math.ceil(frames / COLUMNS);
  document.body.classList.toggle('sharp', zoom > 1);
  for (const view of document.querySelectorAll('.view')) {
    const box = view.getBoundingClientRect(), clip = view.firstElementChild;
    const begin = (edge, length, at, side) => Math.round((edge + length / 2 - at * side * scale) * ratio) / ratio - edge;
    clip.style.width = `${width * scale}px`;
    clip.style.height = `${height * scale}px`;
    clip.style.left = `${begin(box.left, box.width, centre[0], width)}px`;
    clip.style.top = `${begin(box.top, box.height, centre[1], height)}px`;
    for (const image of clip.children) {
      image.style.width = `${columns * width * scale}px`;
      image.style.height = `${rows * height * scale}px`;
      image.style.left = `${-(frame % COLUMNS) * width * scale}px`;
      image.style.top = `${-Math.floor(frame / COLUMNS) * height * scale}px`;
    }
  }
  $('zoom').firstChild.textContent = `Zoom ${zoom}:1 `;
}

// One clock for all sides.
function play(now) {
  if (current && ready && current.frames > 1) {
    const wanted = Math.floor((now - shownAt) / 1000 * (current.rate || 24)) % current.frames;
    if (wanted !== frame) { frame = Math.max(0, wanted); draw(); }
  }
  requestAnimationFrame(play);
}

function vote(choice) {
  if (!current || !ready || !$('cover').hidden) return;
  record(current, choice, Math.round(performance.now() - shownAt));
  next();
}
function record(trial, choice, ms) {
  const entry = {
    study: study.study, voter: state.voter, id: random(16), item: trial.item, left: trial.left, right: trial.right,
    choice, number: trial.number, ms, zoom, flickers, viewport: `${innerWidth}x${innerHeight}`, ratio: devicePixelRatio,
  };
  state.log.push(entry);
  if (study.served) state.pending.push(entry);
  apply(entry);
  keep();
  send();
}
function lastVote() {
  return [...state.log].reverse().find(entry => entry.choice !== 'undone' && done.get(entry.number) === entry);
}
function undo() {
  const last = lastVote();
  if (!last) return;
  $('cover').hidden = true;
  record(trials[last.number], 'undone', 0);
  next();
}

async function send() {
  if (sending || !study.served) return;
  sending = true;
  try {
    while (state.pending.length) {
      const reply = await fetch('vote', {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(state.pending[0]),
      });
      if (!reply.ok) {
        const reason = (await reply.json().catch(() => ({}))).error || `the server answered ${reply.status}`;
        if (!FINAL.includes(reply.status)) throw new Error(reason);
        state.refused.push(state.pending[0]);
        trouble(`A vote does not count: ${reason}`);
      } else if (!state.refused.length) trouble('');
      state.pending.shift();
      keep();
    }
  } catch (error) {
    trouble(`${state.pending.length} of your votes are not saved yet (${error.message}). They are kept in this page ` +
      'and sent again: leave it open.');
    setTimeout(send, RETRY);
  } finally {
    sending = false;
  }
  if (begun && !current) finish();
}

function trouble(sentence) { $('trouble').textContent = sentence; }

function cover(title, texts, label, action) {
  const box = $('cover').firstElementChild;
  box.replaceChildren();
  const add = (kind, text) => { const e = document.createElement(kind); e.textContent = text; box.append(e); return e; };
  add('h2', title);
  texts.forEach(text => add('p', text));
  if (label) {
    const button = add('button', label);
    button.addEventListener('click', action);
    setTimeout(() => button.focus());
  }
  $('cover').hidden = false;
}
function start() { begun = true; $('cover').hidden = true; restedAt = performance.now(); next(); }
function rest() {
  cover('Time for a break', ['You have looked closely for 20 minutes. Rest your eyes; your votes are kept.'], 'Go on', start);
}
function finish() {
  if (study.served) {
    const waiting = state.pending.length;
    if (!waiting) return cover('Thank you', ['All your votes are saved. You may close this page.']);
    return cover('Thank you', [`${waiting} votes are still on their way; leave this page open, or save them as a file.`],
      'Save answers', download);
  }
  cover('Thank you', ['Save your answers and hand the file to whoever asked you.'], 'Save answers', download);
}
function download() {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(state.log.map(entry => JSON.stringify(entry) + '\n'), { type: 'application/jsonl' }));
  link.download = `votes-${state.voter.slice(0, 8)}.jsonl`;
  link.click();
}

function flicker(on) {
  if (!current || !ready) return;
  over.style.visibility = on ? 'visible' : 'hidden';
  $('left').querySelector('figcaption').textContent = on ? '2 (in the place of 1)' : '1';
  flickers += on ? 1 : 0;
}
function turnZoom() { zoom = ZOOMS[(ZOOMS.indexOf(zoom) + 1) % ZOOMS.length]; draw(); }

const KEYS = {
  1: () => vote('left'), ArrowLeft: () => vote('left'), 2: () => vote('right'), ArrowRight: () => vote('right'),
  0: () => vote('none'), ArrowDown: () => vote('none'), z: turnZoom, u: undo, Backspace: undo,
};
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === 'f' && !event.repeat) return flicker(true);
  const action = KEYS[key];
  if (action && !event.repeat) { event.preventDefault(); action(); }
});
addEventListener('keyup', event => { if (event.key.toLowerCase() === 'f') flicker(false); });
for (const choice of ['left', 'none', 'right']) $(`vote-${choice}`).addEventListener('click', () => vote(choice));
$('undo').addEventListener('click', undo);
$('zoom').addEventListener('click', turnZoom);
$('flicker').addEventListener('pointerdown', () => flicker(true));
for (const end of ['pointerup', 'pointerleave', 'pointercancel']) $('flicker').addEventListener(end, () => flicker(false));
let held = null;
for (const view of document.querySelectorAll('.view')) {
  view.addEventListener('pointerdown', event => { held = [event.clientX, event.clientY]; view.setPointerCapture(event.pointerId); });
  view.addEventListener('pointerup', () => { held = null; });
  view.addEventListener('pointercancel', () => { held = null; });
  view.addEventListener('pointermove', event => {
    if (!held || !current) return;
    const scale = zoom / devicePixelRatio, moved = [event.clientX - held[0], event.clientY - held[1]];
    held = [event.clientX, event.clientY];
    centre = [centre[0] - moved[0] / (current.width * scale), centre[1] - moved[1] / (current.height * scale)]
      .map(value => Math.min(1, Math.max(0, value)));
    draw();
  });
  view.addEventListener('wheel', event => {
    event.preventDefault();
    zoom = ZOOMS[Math.min(2, Math.max(0, ZOOMS.indexOf(zoom) + (event.deltaY < 0 ? 1 : -1)))];
    draw();
  }, { passive: false });
}
addEventListener('resize', draw);

cover(study.title || 'Which picture is better?', [
  `You will see ${trials.length} pairs. Choose the one that answers the question above them, or "no difference". Some pairs are the same picture twice, so trust your eyes.`,
  'Keys: 1 or left arrow, 2 or right arrow, 0 or down arrow for no difference. Hold F to see 2 in the place of 1. Z zooms, dragging moves all sides together, U takes the last vote back.',
], done.size ? 'Go on' : 'Begin', start);
requestAnimationFrame(play);
if (study.served) send();
