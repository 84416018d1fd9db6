package config

func (c *Config) validateProvider(r *report) {}
