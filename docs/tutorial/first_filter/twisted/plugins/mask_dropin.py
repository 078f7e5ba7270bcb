# twisted/plugins/mask_dropin.py
from twisted_pipe.filters.base import FilterPlugin

mask = FilterPlugin("mask", "Puts stars in the place of @.", "mask:Mask")
mask_long = FilterPlugin("mask-long", "Puts stars in the place of long numbers.", "mask_long:MaskLong")
mask_asked = FilterPlugin("mask-asked", "Puts stars for clients that are not trusted.", "mask_asked:MaskAsked")
