"""Run exported networks in Verilator or Icarus and compare every logit with the int8 reference."""
