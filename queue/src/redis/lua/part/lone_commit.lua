-- Commits all of one lease, of which nothing follows: what part/commit.lua does, in the fewest
-- steps, for a process whose only lane asks for nothing else. Answers nothing and changes nothing
-- where it is not as simple as that.
local function lone_commit()
  local id, at_text = ARGV[6], ARGV[7]
  local token, position, index, count, attempt = struct.unpack('<c16I2I4I2I4', ARGV[8])
  local name, key, field = string.sub(token, 1, 13), P .. 'j:' .. id, 'L' .. at_text
  local found, record = call('HMGET', key, 'J', field), call('HGET', LEASES, name)
  if not found[2] or not record then return end
  -- As part/job.lua reads them.
  local number = struct.unpack('<d', found[1])
  local cancelled, failed_ever = struct.unpack('<dd', found[1], 81)
  local tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
    struct.unpack('<dddddddddddd', found[2])
  local job, job_number, at, first, _, _, request, running, attempts = struct.unpack(RECORD, record)
  local offset = index % 65536
  if job ~= id or job_number ~= number or at ~= tonumber(at_text) or first ~= index or position ~= 0
    or running ~= string.rep('r', count) or attempt ~= 1 or attempts ~= '\1\0\0\0' or cancelled == 1
    or failed_ever > 0 or kind == 1 or kind == 2 or above == 2 or done + count >= tasks
    or count > 48 or offset + count > 65536 then
    return
  end

  -- The first writes free memory.
  call('ZREM', ENDS, name)
  call('HDEL', LEASES, name, request)
  settle(token, 'c' .. count, ARGV[3])
  local chunk = P .. 'b:' .. id .. '/' .. at_text .. '/d' .. (index - offset) / 65536
  if count == 1 then
    call('SETBIT', chunk, offset, '1')
  else
    call('BITFIELD', chunk, 'SET', 'u' .. count, offset, 2 ^ count - 1)
  end
  call('HSET', key, field, struct.pack('<dddddddddddd', tasks, kind, above, cursor, done + count,
    failed, leased - count, delayed, ready, low, ahead, offered))
  event('C ' .. id .. ' ' .. at_text .. ' ' .. index .. '+' .. count)
  publish()
  return string.rep('n', count)
end
