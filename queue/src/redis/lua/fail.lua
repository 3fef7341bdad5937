-- Ends an attempt as failed.
-- KEYS[1]  the farm's own hash
-- ARGV[1]  epoch
-- ARGV[2]  the time, see part/clock.lua
-- ARGV[3]  job
-- ARGV[4]  layer
-- ARGV[5]  for how long answers are remembered, ms
-- ARGV[6]  index
-- ARGV[7]  proof, see part/entries.lua
-- ARGV[8]  message
-- ARGV[9]  '1' when another attempt may succeed
-- ARGV[10] attempts that may fail
-- ARGV[11] pause after the first failed attempt, ms
-- Answers  {'ok', <ms of the next attempt, or 'Q' for quarantined>}, {'nojob'}, {'notask'},
--          {'cancelled'}, {'stale'}
-- include open clock events wake job offers entries settle settled running ended

local token = string.sub(ARGV[7], 2, 17)
local how = settled(token, ARGV[5])
if how and string.sub(how, 1, 1) == 'f' then
  return {'ok', string.sub(how, 2)}
end
local j, l, entry, no = running(ARGV[3], tonumber(ARGV[4]), ARGV[6], ARGV[7])
if no then return {no} end
local outcome = end_attempt(j, l, tonumber(ARGV[6]), entry, {
  message = ARGV[8], retryable = ARGV[9] == '1', attempts = tonumber(ARGV[10]),
  backoff = tonumber(ARGV[11]),
})
settle_state(j)
store_job(j)
settle(token, 'f' .. outcome, ARGV[5])
publish()
return {'ok', outcome}
