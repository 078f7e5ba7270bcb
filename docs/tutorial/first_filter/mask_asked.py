# mask_asked.py
from ipaddress import ip_address

from mask import Mask
from twisted.names.client import lookupAddress
from twisted.names.error import DNSNameError

ZONE = "trusted.example.com"


class MaskAsked(Mask):
    """Masks nothing for clients that our zone names: 192.0.2.1 is there as 1.2.0.192.trusted.example.com."""

    async def received(self, data):
        if await self.is_trusted():
            return data
        return list(super().received(data))

    async def is_trusted(self):
        turned_round = ip_address(self.context.client.host).reverse_pointer.rsplit(".", 2)[0]
        try:
            answers, _, _ = await lookupAddress(f"{turned_round}.{ZONE}")
        except DNSNameError:
            return False  # the name server says that there is no such name
        return bool(answers)
