'use strict';
// Every text goes in as textContent: prompts are whatever people typed.
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const make = (tag, name, ...inside) => { const e = document.createElement(tag); if (name) e.className = name; e.append(...inside); return e; };
const button = (text, does) => { const e = make('button', '', text); e.type = 'button'; e.onclick = does; return e; };

// Cells are their positions in the columns of `data`.
const all = data.index.map((_, cell) => cell);
const several = data.axes.map((_, a) => a).filter(a => data.axes[a].values.length > 1);
const axisValue = (cell, a) => data.axes[a].values[data.place[a][cell]];
const there = cell => !(cell in data.missing);
const stopped = cell => data.stopped[cell];
const image = cell => '../frames/' + String(data.index[cell]).padStart(6, '0') + '.png';
// The text of a setting, as a job file has it; nothing where the cell has no such setting.
const setting = (column, cell) => column.at ? column.texts[column.at[cell]] : column.texts[0];
const promptColumns = data.settings.filter(c => c.field === 'render.prompt' || c.field === 'sweep.axes.prompt');
// Text in a job file is JSON, too. A prompt with braces stands there as the one value of an axis.
const prompts = promptColumns.map(column => column.texts.map(text => {
  if (!text) return undefined;
  const value = JSON.parse(text);
  return Array.isArray(value) ? value[0].replaceAll('{{', '{').replaceAll('}}', '}') : value;
}));
function prompt(cell) {
  for (const [n, column] of promptColumns.entries()) {
    const said = prompts[n][column.at ? column.at[cell] : 0];
    if (said !== undefined) return said;
  }
  return '';
}
const sizes = data.settings.find(c => c.field === 'render.size');
const size = cell => JSON.parse(setting(sizes, cell));
const caption = cell => several.length ? several.map(a => axisValue(cell, a)).join(' · ') : prompt(cell);
const score = cell => data.score[cell];
const named = cell => 'cell ' + data.index[cell];

// A job that makes this cell again.
function jobFile(cell) {
  const name = [...data.title].slice(0, 80).join('').trimEnd() + ' ' + named(cell);
  const lines = ['# ' + named(cell) + ' of a vqfarm sweep. If it names files, save it in the folder of that render.',
    'version = 1', 'name = ' + JSON.stringify(name)];
  let table = '';
  for (const column of data.settings) {
    const text = setting(column, cell);
    if (!text) continue;
    const outer = column.field.startsWith('sweep.axes.') ? 'sweep.axes' : 'render';
    if (outer !== table) lines.push('', '[' + (table = outer) + ']');
    lines.push(column.field.slice(outer.length + 1) + ' = ' + text);
  }
  return lines.join('\n') + '\n';
}

// The grid: which cells, in which order, and how many of them are drawn.
const PAGE = 300;
let shown = [], drawn = 0, picked = [];

for (const a of several) {
  const select = make('select', '', new Option('all', ''), ...data.axes[a].values.map((v, i) => new Option(v, i)));
  select.dataset.axis = a;
  $('filters').append(make('label', '', data.axes[a].name + ' ', select));
}
const filters = () => [...$('filters').querySelectorAll('select[data-axis]')];
// Where cells were stopped early, they can be left out or shown alone.
const early = make('select', '', new Option('all', ''), new Option('finished', 'no'), new Option('stopped early', 'yes'));
early.id = 'early';
if (Object.keys(data.stopped).length) $('filters').append(make('label', '', 'rendered ', early));

function update() {
  const wanted = filters().filter(s => s.value !== '').map(s => [+s.dataset.axis, +s.value]);
  const text = $('find').value.trim().toLowerCase();
  const isWanted = c => early.value === '' || (early.value === 'yes') === (stopped(c) !== undefined);
  shown = all.filter(c => isWanted(c) && wanted.every(([a, v]) => data.place[a][c] === v) && (!text || prompt(c).toLowerCase().includes(text)));
  const sign = { best: -1, worst: 1 }[$('sort').value];
  if (sign) shown.sort((a, b) => (score(a) === null) - (score(b) === null) || sign * (score(a) - score(b)));
  drawn = 0;
  $('grid').replaceChildren();
  more();
  $('count').textContent = (shown.length === all.length ? '' : shown.length + ' of ') + all.length + (all.length === 1 ? ' picture' : ' pictures');
}

function more() {
  const next = shown.slice(drawn, drawn + PAGE);
  $('grid').append(...next.map(card));
  drawn += next.length;
  $('more').hidden = drawn >= shown.length;
}

function card(cell) {
  const said = make('div', 'said');
  const item = make('li', 'card');
  if (there(cell)) {
    const img = make('img');
    // Its place is kept before it comes.
    [img.width, img.height] = size(cell);
    img.loading = 'lazy'; img.decoding = 'async'; img.alt = ''; img.src = image(cell);
    const open = button(img, () => show([cell]));
    open.className = 'open';
    open.setAttribute('aria-label', named(cell) + ', ' + caption(cell) + ': ' + prompt(cell));
    const pick = make('input');
    pick.type = 'checkbox'; pick.checked = picked.includes(cell);
    pick.onchange = () => choose(cell, pick.checked);
    item.append(open);
    if (score(cell) !== null) said.append(make('span', 'score', score(cell).toFixed(3)));
    if (stopped(cell) !== undefined) said.append(make('span', 'stopped', 'stopped at ' + stopped(cell)));
    said.append(make('span', '', caption(cell)), make('label', '', pick, 'compare'));
  } else {
    const why = data.missing[cell];
    item.append(make('div', 'why', why ? 'failed: ' + why : 'not there yet'));
    said.append(make('span', '', caption(cell)));
  }
  item.append(said);
  item.dataset.cell = cell;
  item.classList.toggle('picked', picked.includes(cell));
  return item;
}

// Two cells can be compared; a third takes the place of the first.
function choose(cell, wanted) {
  picked = picked.filter(other => other !== cell);
  if (wanted) picked = [...picked, cell].slice(-2);
  for (const item of $('grid').children) {
    const is = picked.includes(+item.dataset.cell), box = item.querySelector('input');
    item.classList.toggle('picked', is);
    if (box) box.checked = is;
  }
  $('compare').disabled = picked.length < 2;
  $('compare').textContent = picked.length === 1 ? 'compare: choose another' : 'compare';
}

// The viewer: one cell, or two side by side.
const ZOOMS = [0, .5, 1, 2, 4, 8];
let seen = [], zoom = 0;

function show(cells) {
  seen = cells;
  $('panes').replaceChildren(...cells.map(pane));
  $('heading').textContent = cells.map(named).join(' and ');
  $('details').replaceChildren(...(cells.length === 1 ? one(cells[0]) : two(cells)));
  $('previous').disabled = $('next').disabled = cells.length > 1;
  enlarge(0);
  if (!$('viewer').open) { $('viewer').showModal(); $('heading').focus(); }
}

function pane(cell) {
  const img = make('img');
  img.src = image(cell); img.alt = prompt(cell); img.title = 'click to zoom';
  img.onclick = () => enlarge(zoom ? 0 : ZOOMS.indexOf(2));
  img.onload = () => enlarge(zoom);
  const stage = make('div', 'stage', img);
  stage.onscroll = () => {
    for (const other of document.querySelectorAll('.stage')) {
      if (other !== stage) { other.scrollLeft = stage.scrollLeft; other.scrollTop = stage.scrollTop; }
    }
  };
  return make('figure', '', stage, make('figcaption', '', named(cell) + ' · ' + caption(cell)));
}

function enlarge(to) {
  zoom = Math.min(Math.max(to, 0), ZOOMS.length - 1);
  for (const stage of document.querySelectorAll('.stage')) {
    const img = stage.firstChild;
    stage.classList.toggle('fit', zoom === 0);
    stage.classList.toggle('pixels', ZOOMS[zoom] > 2);
    img.style.width = zoom ? img.naturalWidth * ZOOMS[zoom] + 'px' : '';
  }
  $('zoom').textContent = zoom ? ZOOMS[zoom] * 100 + ' %' : 'fit';
  $('smaller').disabled = zoom === 0;
  $('larger').disabled = zoom === ZOOMS.length - 1;
}

// What is said of a cell, as names and texts.
function facts(cell) {
  const said = [['prompt', prompt(cell)], ...data.axes.map((axis, a) => [axis.name, axisValue(cell, a)])];
  if (score(cell) !== null) said.push(['CLIP score', score(cell).toFixed(4)]);
  if (stopped(cell) !== undefined) said.push(['stopped', 'after ' + stopped(cell) + ' iterations']);
  const axes = new Set(data.axes.map(axis => axis.name));
  for (const column of data.settings) {
    const name = column.field.slice(column.field.indexOf('.') + 1), text = setting(column, cell);
    if (text && text !== '[]' && !axes.has(name) && !promptColumns.includes(column)) said.push([name, text]);
  }
  return [...said, ['file', image(cell).slice(3)]];
}

function one(cell) {
  const list = make('dl');
  list.append(...facts(cell).flatMap(([name, text]) => [make('dt', '', name), make('dd', '', text)]));
  return [job(cell), list];
}

// What differs.
function two(cells) {
  const [left, right] = cells.map(cell => new Map(facts(cell)));
  const names = [...new Set([...left.keys(), ...right.keys()])].filter(name => left.get(name) !== right.get(name));
  const heads = make('tr', '', make('td'), ...cells.map(cell => { const th = make('th', '', named(cell)); th.scope = 'col'; return th; }));
  const rows = names.map(name => {
    const th = make('th', '', name);
    th.scope = 'row';
    return make('tr', '', th, make('td', '', left.get(name) ?? ''), make('td', '', right.get(name) ?? ''));
  });
  return [make('table', '', make('thead', '', heads), make('tbody', '', ...rows)), ...cells.map(job)];
}

// The cell's job file, to be copied with one click or by hand.
function job(cell) {
  const text = make('textarea');
  text.value = jobFile(cell); text.readOnly = true;
  text.setAttribute('aria-label', 'job file of ' + named(cell));
  const told = make('span', 'count');
  told.setAttribute('role', 'status');
  const summary = make('summary', '', 'see it');
  const whole = make('details', '', summary, text);
  const copy = button('copy ' + named(cell) + ' as a job file', async () => {
    // Only secure pages have a clipboard: a file is one, a plain http address is not.
    try { await navigator.clipboard.writeText(text.value); } catch {
      whole.open = true; text.focus(); text.select();
      if (!document.execCommand('copy')) { told.textContent = ' press Ctrl+C'; return; }
    }
    told.textContent = ' copied; save it and type: vqfarm render FILE';
  });
  return make('div', 'job', copy, told, whole);
}

function step(by) {
  if (seen.length > 1) return;
  for (let i = shown.indexOf(seen[0]) + by; i >= 0 && i < shown.length; i += by) {
    if (there(shown[i])) return show([shown[i]]);
  }
}

// Arrows move between the pictures of the grid, as they do in the viewer.
function move(event) {
  const item = event.target.closest('.card');
  const columns = getComputedStyle($('grid')).gridTemplateColumns.split(' ').length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (!item || !by || !event.target.matches('.open')) return;
  event.preventDefault();
  const items = [...$('grid').children];
  let to = items.indexOf(item) + by;
  while (items[to] && !items[to].querySelector('.open')) to += Math.sign(by);
  items[to]?.querySelector('.open').focus();
}

$('bar').oninput = e => { if (e.target.id === 'side') document.body.style.setProperty('--side', e.target.value + 'px'); else update(); };
$('reset').onclick = () => { for (const select of filters()) select.value = ''; early.value = ''; $('find').value = ''; $('sort').value = 'job'; update(); };
$('compare').onclick = () => show(picked);
$('more').onclick = () => { const first = drawn; more(); $('grid').children[first]?.querySelector('button')?.focus(); };
$('grid').onkeydown = move;
$('close').onclick = () => $('viewer').close();
$('previous').onclick = () => step(-1);
$('next').onclick = () => step(1);
$('larger').onclick = () => enlarge(zoom + 1);
$('smaller').onclick = () => enlarge(zoom - 1);
$('fit').onclick = () => enlarge(0);
$('viewer').onkeydown = event => {
  if (event.target.matches('textarea') || event.ctrlKey || event.metaKey || event.altKey) return;
  const does = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), '+': () => enlarge(zoom + 1), '=': () => enlarge(zoom + 1), '-': () => enlarge(zoom - 1), 0: () => enlarge(0) }[event.key];
  if (does) { event.preventDefault(); does(); }
};
$('viewer').onclose = () => document.querySelector('.card[data-cell="' + seen[0] + '"] .open')?.focus();
// What comes into view is drawn without being asked for.
new IntersectionObserver(entries => { if (entries.some(e => e.isIntersecting) && !$('more').hidden) more(); }, { rootMargin: '600px' }).observe($('more'));

const sheet = name => { const a = make('a', '', name); a.href = name; return a; };
const sheets = Array.from({ length: data.sheets }, (_, n) => 'contact-sheet' + (n ? '-' + (n + 1) : '') + '.png');
$('sheets').append('Beside this page: ', ...[...sheets, 'scores.csv'].flatMap((name, n) => n ? [', ', sheet(name)] : [sheet(name)]));
update();
