// SPDX-License-Identifier: Apache-2.0
//
// Sends one frame: header, `length` bytes of payload, CRC. fpga/README.md has the protocol.
//
// A payload byte is asked for by its index, and taken when the UART is ready for it: at least a
// start bit later, time enough for any memory.

`default_nettype none

module frame_send #(
    parameter LENGTH_WIDTH = 16  // bits of the length, at most 16
) (
    input  wire                    clk,
    input  wire                    rst,
    input  wire                    start,         // for one clock; the fields hold until `done`
    input  wire [7:0]              command,
    input  wire [7:0]              tag,
    input  wire [LENGTH_WIDTH-1:0] length,        // at least 1
    output wire [LENGTH_WIDTH-1:0] payload_index,
    input  wire [7:0]              payload_data,
    output wire                    payload_taken,
    output wire                    done,          // for one clock, when the line is free again
    output reg  [7:0]              tx_data,       // to uart_tx
    output wire                    tx_valid,
    input  wire                    tx_ready,
    input  wire                    tx_bit_valid,
    output wire                    crc_init,      // to crc32
    output wire                    crc_step,
    output wire                    crc_drain,
    input  wire [7:0]              crc_byte       // the next byte of the check value
);

    localparam [7:0] SYNC = 8'h5C, VERSION = 1;
    localparam [2:0] IDLE = 0, HEADER = 1, PAYLOAD = 2, CHECK = 3, FLUSH = 4;

    reg [2:0]              state_reg = IDLE;
    reg [LENGTH_WIDTH-1:0] index_reg = 0;     // of the next byte in its part of the frame
    reg                    sync_reg;          // the byte under way is the start byte,
    reg                    check_reg;         // or one of the check value

    wire [LENGTH_WIDTH-1:0] next = index_reg + 1'b1;
    reg  [15:0]             wide_length;
    reg                     last;             // the next byte ends its part of the frame

    assign payload_index = index_reg;
    assign tx_valid      = state_reg == HEADER || state_reg == PAYLOAD || state_reg == CHECK;
    assign payload_taken = state_reg == PAYLOAD && tx_ready;
    assign crc_init      = state_reg == IDLE;
    assign crc_step      = tx_bit_valid && !sync_reg;
    assign crc_drain     = check_reg;
    assign done          = state_reg == FLUSH && tx_ready;

    always @* begin
        wide_length = 0;
        wide_length[LENGTH_WIDTH-1:0] = length;
        case (index_reg[2:0])
            0:       tx_data = SYNC;
            1:       tx_data = VERSION;
            2:       tx_data = command;
            3:       tx_data = tag;
            4:       tx_data = wide_length[7:0];
            default: tx_data = wide_length[15:8];
        endcase
        last = index_reg[2:0] == 5;
        if (state_reg == PAYLOAD) begin
            tx_data = payload_data;
            last    = next == length;
        end else if (state_reg == CHECK) begin
            tx_data = crc_byte;
            last    = index_reg[1:0] == 3;
        end
    end

    always @(posedge clk) begin
        if (state_reg == IDLE) begin
            if (start)
                state_reg <= HEADER;
        end else if (tx_ready) begin
            sync_reg  <= state_reg == HEADER && index_reg == 0;
            check_reg <= state_reg == CHECK;
            index_reg <= last ? {LENGTH_WIDTH{1'b0}} : next;
            if (state_reg == FLUSH) begin
                state_reg <= IDLE;
                index_reg <= 0;
            end else if (last) begin
                state_reg <= state_reg + 1'b1;
            end
        end
        if (rst) begin
            state_reg <= IDLE;
            index_reg <= 0;
        end
    end

endmodule

`default_nettype wire
