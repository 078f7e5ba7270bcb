# mask_asked.py
from mask import Mask
from twisted.names.client import lookupPointer


class MaskAsked(Mask):
    """Masks nothing for clients whose name ends in .example.com."""

    async def received(self, data):
        if await self.is_trusted():
            return data
        return list(super().received(data))

    async def is_trusted(self):
        answers, _, _ = await lookupPointer(self.context.client.host)
        return any(str(answer.payload.name).endswith(".example.com") for answer in answers)
