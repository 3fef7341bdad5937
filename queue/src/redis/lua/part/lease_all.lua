-- Takes tasks for each that asks; the arguments from `arg` on are as turn.lua says.
local function lease_all(arg, answer)
  local kinds = {}
  for kind = 1, tonumber(ARGV[arg]) do
    local from = arg + 3 * kind - 2
    kinds[kind] = {memory = tonumber(ARGV[from]), tags = ARGV[from + 1], loaded = ARGV[from + 2]}
  end
  arg = arg + 3 * #kinds + 1
  local requests, workers, n = {}, {}, 0
  for from = arg, #ARGV, 6 do
    n = n + 1
    requests[n], workers[n] = ARGV[from], ARGV[from + 1]
  end
  local seats = call('HMGET', P .. 'seats', unpack(workers))
  local given = call('HMGET', LEASES, unpack(requests))
  local heard, new = {}, {}
  for i = 1, n do
    local from = arg + 6 * i - 6
    -- As part/seats.lua has it.
    local drain = seats[i] and string.byte(seats[i]) == 49 and '1' or '0'
    -- Lanes of one worker say the same.
    if workers[i] ~= workers[i - 1] then
      heard[#heard + 1], heard[#heard + 2] = workers[i], drain .. now_text .. ARGV[from + 2]
    end
    local again = new[requests[i]]
    if given[i] then
      -- include leases given_before
      again = again or given_before(given[i])
    end
    if again then
      answer[i + 2] = again
    elseif drain == '1' then
      answer[i + 2] = {'drain'}
    elseif farm[3] and tonumber(farm[3]) <= now then
      answer[i + 2] = {'due'}
    else
      local kind, most = kinds[tonumber(ARGV[from + 3])], tonumber(ARGV[from + 4])
      local lease = lease(requests[i], workers[i], kind, most, ARGV[from + 5])
      if lease[1] == 'work' then new[requests[i]] = lease end
      answer[i + 2] = lease
    end
  end
  call('HSET', P .. 'seats', unpack(heard))
end
