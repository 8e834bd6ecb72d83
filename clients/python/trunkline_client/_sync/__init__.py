# Generated from _async by generate_sync.py. DO NOT EDIT!
