-- Ends a running attempt as failed; the caller takes it out of its lease. Answers when the next
-- may begin, or 'Q' for never.
local function end_attempt(j, l, index, entry, failure)
  local field = l.at .. '/' .. index
  l.leased = l.leased - 1
  l.changed = true
  entry.failures = entry.failures + 1
  entry.error = failure.message
  local outcome
  if not failure.retryable or entry.failures >= failure.attempts then
    entry.state = 'F'
    l.failed = l.failed + 1
    j.failed = j.failed + 1
    call('ZADD', P .. 'f:' .. j.id, l.at * 4294967296 + index, field)
    outcome = 'Q'
  else
    local pause = failure.backoff * 2 ^ math.min(entry.failures - 1, 16)
    local until_ = now + pause
    entry.state = 'D'
    entry.time = until_
    l.delayed = l.delayed + 1
    call('ZADD', P .. 'delays', until_, j.id .. '/' .. field)
    if not farm[3] or tonumber(farm[3]) > until_ then
      farm[3] = string.format('%.0f', until_)
      call('HSET', KEYS[1], 'due', farm[3])
    end
    outcome = string.format('%.0f', until_)
    wake(0, string.format('%.0f', pause))
  end
  call('HSET', j.key, field, pack_entry(entry))
  event('F ' .. j.id .. ' ' .. l.at .. ' ' .. index .. ' ' .. outcome .. ' ' .. failure.message)
  return outcome
end
