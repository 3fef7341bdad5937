-- A lease for one worker that was heard of, where one user alone has work and fresh tasks of a
-- running job are left: what part/lease.lua does, in the fewest steps, for a process whose only lane
-- asks for nothing else. Answers nothing and changes nothing where it is not as simple as that.
local function lone_lease()
  local worker, request, info, count, name = ARGV[11], ARGV[12], ARGV[13], ARGV[15], ARGV[16]
  local seat = call('HGET', P .. 'seats', worker)
  local id, at_text, user, needs = struct.unpack('<c32Bc0Bc0', farm[5])
  local key, field = P .. 'j:' .. id, 'L' .. at_text
  local found = call('HMGET', key, 'J', field)
  -- As part/job.lua reads them.
  local number, _, state = struct.unpack('<ddd', found[1])
  local tasks, kind, above, cursor, done, failed, leased, delayed, ready, low, ahead, offered =
    struct.unpack('<dddddddddddd', found[2])
  if not seat or string.byte(seat) ~= 48 or farm[3] and tonumber(farm[3]) <= now
    or state ~= 1 or kind == 1 or kind == 2 or ready > 0 or ahead > 0 or cursor + count >= tasks
    or not fits(string.sub(farm[5], needs), ARGV[8], ARGV[9])
    or call('HGET', LEASES, request) then
    return
  end

  spare()
  local expires, first = now + ARGV[4], cursor .. ''
  call('HSET', LEASES, request, name, name, struct.pack(RECORD, id, number, at_text, cursor, expires,
    #worker, worker, #request, request, count, string.rep('r', count), 4, '\1\0\0\0'))
  expires = expires .. ''
  call('ZADD', ENDS, expires, name)
  call('HINCRBY', P .. 'served', user, count)
  call('HSET', key, field, struct.pack('<dddddddddddd', tasks, kind, above, cursor + count, done,
    failed, leased + count, delayed, ready, low, ahead, offered))
  if string.sub(seat, -#info) ~= info
    or now - (tonumber(string.sub(seat, 2, -#info - 1)) or 0) >= 1000 then
    call('HSET', P .. 'seats', worker, '0' .. now_text .. info)
  end
  local head = id .. ' ' .. at_text .. ' ' .. first .. ' '
  event('L ' .. worker .. ' ' .. head .. count)
  publish()
  return {'work', head .. expires .. ' 1 ' .. name .. ' ' .. count}
end
