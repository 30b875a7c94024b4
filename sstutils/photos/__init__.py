"""Photographs: CUB-200-2011, CARS196, Stanford Online Products, their archives, cache of pixels and backbone."""
