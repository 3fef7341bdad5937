-- Ends an attempt as failed.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  layer
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]  index
-- ARGV[7]  token
-- ARGV[8]  attempt
-- ARGV[9]  message
-- ARGV[10] '1' when another attempt may succeed
-- ARGV[11] attempts that may fail
-- ARGV[12] pause after the first failed attempt, ms
-- Answers  {'ok', <ms of the next attempt, or 'Q' for quarantined>}, {'nojob'}, {'notask'},
--          {'cancelled'}, {'stale'}
-- include open clock events wake spare job offers entries record leases store_lease
-- include settle settled running ended

local token, index, attempt = ARGV[7], tonumber(ARGV[6]), tonumber(ARGV[8])
local how = settled(token, ARGV[5])
if how and string.sub(how, 1, 1) == 'f' then
  return {'ok', string.sub(how, 2)}
end
local j, l, lease, position, no = running(ARGV[3], tonumber(ARGV[4]), index, token, attempt)
if no then return {no} end
spare()
leave(lease, position, 1)
store_lease(lease)
local outcome = end_attempt(j, l, index, entry_of(j, l, index, attempt), {
  message = ARGV[9], retryable = ARGV[10] == '1', attempts = tonumber(ARGV[11]),
  backoff = tonumber(ARGV[12]),
})
settle_state(j)
store_job(j)
settle(token, 'f' .. outcome, ARGV[5])
publish()
return {'ok', outcome}
