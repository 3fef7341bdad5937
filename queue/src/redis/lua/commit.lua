-- Makes the stored results of tasks of one layer count.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  layer
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]… index and proof (token and attempt as 4 bytes, little end first) of each task
-- Answers  {'ok', <for each task: 'now', 'before', 'stale', 'early', 'notask', 'nojob' or
--          'cancelled'>...}
-- include open clock settle

local id, at, memory = ARGV[3], ARGV[4], ARGV[5]
local key = P .. 'j:' .. id
local asked = {'J', 'L' .. at}
for i = 6, #ARGV, 2 do
  asked[#asked + 1] = at .. '/' .. ARGV[i]
end
local found = call('HMGET', key, unpack(asked))
local cancelled, troubles, tasks
local kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered
if found[1] then cancelled, troubles = struct.unpack('<dd', found[1], 81) end
if found[2] then
  tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
    struct.unpack('<dddddddddddd', found[2])
end
local map = P .. 'b:' .. id .. '/' .. at .. '/d'

local answers, committed, members, fields, ended = {'ok'}, {}, {}, {}, {}
-- By index and by token: what this call has committed so far.
local now_done = {}
-- Whether each commit so far is of the task after the one before.
local run = true
for i = 6, #ARGV, 2 do
  local entry, index, proof = found[i / 2], tonumber(ARGV[i]), ARGV[i + 1]
  local answer
  if entry and cancelled == 0 and not now_done[index] and string.sub(entry, 1, 21) == 'L' .. proof then
    answer = 'now'
    if kind == 1 and index > 0 and not now_done[index - 1] then
      -- include bitmap
      if not has(map, index - 1) then answer = 'early' end
    end
    if answer == 'now' then
      local token, field = string.sub(proof, 1, 16), asked[i / 2]
      now_done[index], now_done[token] = true, true
      run = run and (not committed[1] or index == committed[#committed] + 1)
      committed[#committed + 1] = index
      members[#members + 1] = id .. '/' .. field .. ' '
        .. string.sub(entry, 35, 34 + string.byte(entry, 34))
      fields[#fields + 1] = field
      ended[#ended + 1] = token
      ended[#ended + 1] = 'c'
    end
  else
    -- include settled
    local token = string.sub(proof, 1, 16)
    if now_done[token] or settled(token, memory) == 'c' then answer = 'before'
    elseif not found[1] then answer = 'nojob'
    elseif not tasks or index >= tasks then answer = 'notask'
    elseif cancelled == 1 then answer = 'cancelled'
    else answer = 'stale' end
  end
  answers[#answers + 1] = answer
end

local n = #committed
if n == 0 then return answers end
-- The first write frees memory, so that a full server takes it.
call('ZREM', P .. 'leases', unpack(members))
call('HDEL', key, unpack(fields))
-- A run of tasks within one chunk is set at once.
local first, last = committed[1], committed[n]
local chunk = math.floor(first / 65536)
if run and n <= 48 and last < (chunk + 1) * 65536 then
  call('BITFIELD', map .. chunk, 'SET', 'u' .. n, first - chunk * 65536, 2 ^ n - 1)
else
  -- include bitmap
  for _, index in ipairs(committed) do put(map, index) end
end

local told = ''
local opened = 0
if kind ~= 1 and above ~= 2 and done + n < tasks and troubles == 0 then
  -- As almost always: nothing follows from it. As part/job.lua packs them, but without its
  -- tables.
  call('HSET', key, 'L' .. at, struct.pack('<dddddddddddd', tasks, kind, above, cursor, done + n,
    failed, leased - n, delayed, ready, low, ahead, offered))
else
  -- include events bitmap job offers tasks
  local j = read_job(id, found[1])
  local l = read_layer(j, tonumber(at), found[2])
  l.done = l.done + n
  l.leased = l.leased - n
  l.changed = true
  if l.done == l.tasks then j.open = j.open - 1 end
  if kind == 1 or above == 2 then
    for _, index in ipairs(committed) do
      opened = opened + offer_after(j, l, index)
    end
  end
  offer_layers(j, l)
  if l.done == l.tasks then opened = opened + opened_by_layer(j, l) end
  settle_state(j)
  store_job(j)
  told = table.concat(events)
end
settle(ended, memory)
if opened > 0 then
  -- include wake
  wake(opened)
end
local event = 'C ' .. id .. ' ' .. at .. ' ' .. table.concat(committed, ',')
call('PUBLISH', P .. 'events', #event .. ':' .. event .. told)
return answers
