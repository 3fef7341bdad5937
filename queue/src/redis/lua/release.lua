-- Hands a task back without having tried it.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  layer
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]  index
-- ARGV[7]  proof, see part/entries.lua
-- Answers  {'ok'}, {'nojob'}, {'notask'}, {'cancelled'}, {'stale'}
-- include open clock events wake bitmap job offers entries tasks settle settled running

local token = string.sub(ARGV[7], 2, 17)
if settled(token, ARGV[5]) == 'r' then return {'ok'} end
local index = tonumber(ARGV[6])
local j, l, entry, no = running(ARGV[3], tonumber(ARGV[4]), ARGV[6], ARGV[7])
if no then return {no} end
local field = l.at .. '/' .. ARGV[6]
call('ZREM', P .. 'leases', j.id .. '/' .. field .. ' ' .. entry.worker)
entry.state = 'W'
call('HSET', j.key, field, pack_entry(entry))
l.leased = l.leased - 1
l.changed = true
local opened = offer(j, l, index)
offer_layers(j, l)
event('R ' .. j.id .. ' ' .. l.at .. ' ' .. ARGV[6])
settle_state(j)
store_job(j)
settle(token, 'r', ARGV[5])
if opened > 0 then wake(opened) end
publish()
return {'ok'}
