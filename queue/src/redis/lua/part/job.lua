-- A job's numbers and its layers' numbers: packed doubles, which hold them exactly.

-- `at_text` is its number as text, of which names are made: a number becomes text slowly.
local function read_layer(j, at_text, packed)
  local tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
    struct.unpack('<dddddddddddd', packed)
  local at = tonumber(at_text)
  local layer = {
    -- `map` begins the names of its bitmaps
    at = at, field = 'L' .. at_text, map = P .. 'b:' .. j.id .. '/' .. at_text .. '/',
    tasks = tasks,
    -- 0 independent, 1 chain, 2 neighbours, 3 all; that of the layer above, or -1
    kind = kind, above = above,
    -- in independent and all: tasks from here on have never been leased
    cursor = cursor,
    done = done, failed = failed, leased = leased, delayed = delayed,
    -- ready members, and a number that none is below. In a chain or neighbours these are
    -- the tasks that may run; else those that came back and wait, all of them below the cursor
    ready = ready, low = low,
    -- done tasks from the cursor on
    ahead = ahead,
    -- whether some task can be leased
    offered = offered,
  }
  j.layers[at] = layer
  return layer
end

-- With the layer of that number, given as text, if one is.
local function load_job(id, at_text)
  local key = P .. 'j:' .. id
  local found = at_text and call('HMGET', key, 'J', 'L' .. at_text) or {call('HGET', key, 'J')}
  if not found[1] then return false end
  local number, priority, state, submitted, finished, paused, started, size, open, offers,
    cancelled, failed = struct.unpack('<dddddddddddd', found[1])
  local j = {
    id = id, key = key, layers = {},
    number = number, priority = priority, submitted = submitted, finished = finished,
    -- 0 waiting, 1 running, 2 paused, 3 done, 4 failed, 5 cancelled
    state = state, paused = paused, started = started,
    -- how many layers, how many of them are not done, how many have ready tasks
    size = size, open = open, offers = offers,
    cancelled = cancelled,
    -- tasks that failed for good, over all layers
    failed = failed,
  }
  if found[2] then read_layer(j, at_text, found[2]) end
  return j
end

local function layer(j, at)
  return j.layers[at] or read_layer(j, at, call('HGET', j.key, 'L' .. at))
end

-- Stores what has changed: layers that say so, and the job's own numbers once its state has been
-- looked at.
local function store_job(j)
  local fields = {}
  if j.changed then
    fields[1], fields[2] = 'J', struct.pack('<dddddddddddd', j.number, j.priority, j.state,
      j.submitted, j.finished, j.paused, j.started, j.size, j.open, j.offers, j.cancelled, j.failed)
  end
  for _, l in pairs(j.layers) do
    if l.changed then
      fields[#fields + 1] = l.field
      fields[#fields + 1] = struct.pack('<dddddddddddd', l.tasks, l.kind, l.above, l.cursor, l.done,
        l.failed, l.leased, l.delayed, l.ready, l.low, l.ahead, l.offered)
    end
  end
  if fields[1] then call('HSET', j.key, unpack(fields)) end
end
