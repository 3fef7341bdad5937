-- Hands a task back without having tried it.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  layer
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]  index
-- ARGV[7]  token
-- ARGV[8]  attempt
-- Answers  {'ok'}, {'nojob'}, {'notask'}, {'cancelled'}, {'stale'}
-- include open clock events wake spare bitmap job offers entries record leases store_lease
-- include tasks settle settled running

local token, index, attempt = ARGV[7], tonumber(ARGV[6]), tonumber(ARGV[8])
if settled(token, ARGV[5]) == 'r' then return {'ok'} end
local j, l, lease, position, no = running(ARGV[3], tonumber(ARGV[4]), index, token, attempt)
if no then return {no} end
spare()
leave(lease, position, 1)
store_lease(lease)
local entry = entry_of(j, l, index, attempt)
entry.state = 'W'
call('HSET', j.key, l.at .. '/' .. ARGV[6], pack_entry(entry))
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
