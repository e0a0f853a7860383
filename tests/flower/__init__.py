"""The tests' and benchmarks' one door to what Flower does not promise to keep.

What it uses of Flower's private parts, and what for; `tests/test_flower_parts.py` checks each on the Flower installed.

    flwr.supercore.task_identity.TaskIdentity                            whose messages a process makes
    flwr.common.serde.recorddict_to_proto                                a message's content as it goes over the wire
    flwr.common.serde.recorddict_from_proto                              the same, read again
    flwr.proto.recorddict_pb2.RecordDict                                 the same
    flwr.proto.message_pb2.ObjectTree                                    how a message's pieces hang together
    flwr.superlink.extensions.get_middleware                             put back after a test
    flwr.superlink.main.create_app                                       all that a SuperLink serves
    flwr.supernode.main.create_app                                       all that a SuperNode serves
    flwr.supernode.nodestate.NodeStateFactory                            what a SuperNode keeps
    flwr.supercore.object_store.ObjectStoreFactory                       where it keeps messages
    flwr.supercore.constant.TaskType                                     its tasks' kind
    flwr.supercore.run.Run                                               the run that a task is of
    flwr.supercore.fab.Fab                                               that run's code
    flwr.supercore.inflatable.inflatable_object.get_all_nested_objects   a message in the store's pieces
    flwr.supercore.inflatable.inflatable_object.get_object_tree          how they hang together
    flwr.supercore.inflatable.inflatable_object.no_object_id_recompute   while a message is stored its name stays
    flwr.supercore.inflatable.inflatable_utils.inflate_object_from_contents   a message from its pieces
"""
