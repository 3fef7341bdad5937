-- Takes tasks for each of `n` that ask. Where the arguments say so, see turn.lua: kinds of worker
-- from `kinds` on, then the workers, the requests, and the rest for each. To each it
-- answers {'drain'}, {'due'}, or
--   {'work', '<job> <layer> <first> <expires> <attempt of all, or of each, with commas> <name>
--     <how many>'}
--   {'nothing', <work seen>, <ms until a task may be ready, or -1>}
-- What is given is stored by `store_given`, and jobs by part/held.lua.

-- Fields of `leases`, members of `ends`, and how many tasks of whom.
local records, ends = {}, {}
local served_user, served = nil, 0

local function store_served()
  if served > 0 then call('HINCRBY', P .. 'served', served_user, served) end
  served = 0
end

local function store_given()
  if records[1] then
    call('HSET', LEASES, unpack(records))
    call('ZADD', ENDS, unpack(ends))
  end
  store_served()
end

local function lease_all(kinds, workers, n, answer)
  local requests, rest = workers + n, workers + 2 * n
  local seats = call('HMGET', P .. 'seats', unpack(ARGV, workers, requests - 1))
  local given = call('HMGET', LEASES, unpack(ARGV, requests, rest - 1))
  local heard, last_worker = {}, nil
  -- What is given in this call, where a request may be there twice.
  local new = n > 1 and {}
  local expires = now + ARGV[4]
  -- Exact below 10^14, as `%.14g`.
  local expires_text = expires .. ''
  -- The farm's `sole`, read once: job, layer as text, user and needs where there is one group of
  -- one user, so no choice; and whether this kind of worker can do it.
  local sole, sole_id, sole_at, sole_user, sole_needs, sole_kind, sole_fits

  for i = 1, n do
    local worker, request, info, seat = ARGV[workers], ARGV[requests], ARGV[rest], seats[i]
    local kind, most, name = kinds + 3 * ARGV[rest + 1], ARGV[rest + 2], ARGV[rest + 3]
    workers, requests, rest = workers + 1, requests + 1, rest + 4
    -- As part/seats.lua has it.
    local drains = seat and string.byte(seat) == 49
    -- Lanes of one worker say the same; and what it said within a second (NOTE_WORKER) is known.
    if worker ~= last_worker and not (seat and string.sub(seat, -#info) == info
      and now - (tonumber(string.sub(seat, 2, -#info - 1)) or 0) < 1000) then
      heard[#heard + 1], heard[#heard + 2] = worker, (drains and '1' or '0') .. now_text .. info
      last_worker = worker
    end

    local told = new and new[request]
    if given[i] and not told then
      -- include leases given_before
      told = given_before(given[i])
    end
    if told then
      -- Its lease is there.
    elseif drains then
      told = {'drain'}
    elseif farm[3] and tonumber(farm[3]) <= now then
      told = {'due'}
    else
      -- Whose turn it is, and the needs, if they may become the `sole`.
      local id, at_text, user, needs
      if farm[5] then
        if sole ~= farm[5] then
          local past
          sole, sole_kind = farm[5], nil
          sole_id, sole_at, sole_user, past = struct.unpack('<c32Bc0Bc0', sole)
          sole_needs = string.sub(sole, past)
        end
        if sole_kind ~= kind then
          sole_kind, sole_fits = kind, fits(sole_needs, ARGV[kind], ARGV[kind + 1])
        end
        if sole_fits then id, at_text, user = sole_id, sole_at, sole_user end
      else
        -- include choose whose_turn
        id, at_text, user, needs = whose_turn(ARGV[kind], ARGV[kind + 1], ARGV[kind + 2])
      end

      if not id then
        -- include nothing
        told = nothing(ARGV[kind], ARGV[kind + 1])
      else
        local j = job_of(id, at_text)
        local l = layer(j, tonumber(at_text))
        local first, count, count_text = l.cursor, tonumber(most), most
        local attempts, attempts_text, head = '\1\0\0\0', '1', id .. ' ' .. at_text .. ' '
        if (l.kind == 0 or l.kind == 3) and l.ready == 0 and l.ahead == 0
          and first + count < l.tasks and j.state == 1 then
          -- As almost always: fresh tasks of a running job, and some are left.
          l.cursor, l.leased, l.changed = first + count, l.leased + count, true
          head = head .. first .. ' '
          event('L ' .. worker .. ' ' .. head .. most)
          if needs then
            farm[5] = struct.pack('<c32Bc0Bc0', id, #at_text, at_text, #user, user) .. needs
            call('HSET', KEYS[1], 'sole', farm[5])
          end
        else
          -- include bitmap offers entries tasks take take_any
          local told_head = 'L ' .. worker .. ' ' .. head
          first, count, attempts, attempts_text = take_any(j, l, count, told_head)
          head, count_text = head .. first .. ' ', count .. ''
        end
        local last = #records
        records[last + 1], records[last + 2] = name, struct.pack(RECORD, id, j.number, l.at, first,
          expires, #worker, worker, #request, request, count, string.rep('r', count), #attempts, attempts)
        records[last + 3], records[last + 4] = request, name
        ends[last / 2 + 1], ends[last / 2 + 2] = expires_text, name
        if served_user ~= user then
          store_served()
          served_user = user
        end
        served = served + count
        head = head .. expires_text .. ' ' .. attempts_text .. ' ' .. name .. ' ' .. count_text
        told = {'work', head}
        if new then new[request] = told end
      end
    end
    answer[i + 2] = told
  end
  if heard[1] then call('HSET', P .. 'seats', unpack(heard)) end
end
