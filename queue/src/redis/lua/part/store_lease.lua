-- Stores a lease that has changed, or removes one that is over.
local function store_lease(lease)
  if string.find(lease.tasks, 'r', 1, true) then
    call('HSET', LEASES, lease.name, pack_lease(lease))
    return
  end
  call('ZREM', ENDS, lease.name)
  call('HDEL', LEASES, lease.name)
  -- Of a job that is no more: the same request may have got another lease since.
  if call('HGET', LEASES, lease.request) == lease.name then call('HDEL', LEASES, lease.request) end
end
