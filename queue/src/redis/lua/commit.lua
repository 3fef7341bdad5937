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

local id, at, memory = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local key = P .. 'j:' .. id
local asked = {'J', 'L' .. at, 'L' .. (at + 1)}
for i = 6, #ARGV, 2 do
  asked[#asked + 1] = at .. '/' .. ARGV[i]
end
local found = call('HMGET', key, unpack(asked))
local j = found[1] and read_job(id, found[1])
local l = found[2] and read_layer(j, at, found[2])
if found[3] then read_layer(j, at + 1, found[3]) end

local answers, committed, members, fields, ended = {'ok'}, {}, {}, {}, {}
local now_done = {}
for i = 6, #ARGV, 2 do
  local entry = found[(i - 6) / 2 + 4]
  local answer
  if entry and j.cancelled == 0 and string.sub(entry, 1, 21) == 'L' .. ARGV[i + 1] then
    local index = tonumber(ARGV[i])
    if l.kind == 1 and index > 0 and not now_done[index - 1] and not has(l.DONE, index - 1) then
      answer = 'early'
    else
      answer = 'now'
      committed[#committed + 1] = index
      now_done[index] = true
      members[#members + 1] = id .. '/' .. at .. '/' .. ARGV[i] .. ' '
        .. string.sub(entry, 35, 34 + string.byte(entry, 34))
      fields[#fields + 1] = at .. '/' .. ARGV[i]
      ended[#ended + 1] = string.sub(ARGV[i + 1], 1, 16)
      ended[#ended + 1] = 'c'
      -- The same ticket twice in one call: the second time it is done.
      found[(i - 6) / 2 + 4] = false
      for other = i + 2, #ARGV, 2 do
        if ARGV[other] == ARGV[i] then found[(other - 6) / 2 + 4] = false end
      end
    end
  else
    local token = string.sub(ARGV[i + 1], 1, 16)
    local how = settled(token, memory)
    for e = 1, #ended, 2 do
      if ended[e] == token then how = 'c' end
    end
    if how == 'c' then answer = 'before'
    elseif not j then answer = 'nojob'
    elseif not l or tonumber(ARGV[i]) >= l.tasks then answer = 'notask'
    elseif j.cancelled == 1 then answer = 'cancelled'
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
local map, offset = place(l.DONE, first)
if n > 1 and n <= 48 and last - first == n - 1 and place(l.DONE, last) == map then
  call('BITFIELD', map, 'SET', 'u' .. n, offset, 2 ^ n - 1)
else
  for _, index in ipairs(committed) do put(l.DONE, index) end
end
l.done = l.done + n
l.leased = l.leased - n
l.changed = true
j.busy = j.busy - n
if l.done == l.tasks then j.open = j.open - 1 end

local opened = 0
if l.kind == 1 or j.layers[at + 1] and j.layers[at + 1].kind == 2 then
  for _, index in ipairs(committed) do
    opened = opened + offer_after(j, l, index)
  end
end
offer_layers(j, l)
if l.done == l.tasks and j.layers[at + 1] and j.layers[at + 1].kind == 3 then
  opened = opened + available(j, j.layers[at + 1])
end
event('C ' .. id .. ' ' .. at .. ' ' .. table.concat(committed, ','))
settle_state(j)
store_job(j)
settle(ended, memory)
if opened > 0 then wake(opened) end
publish()
return answers
