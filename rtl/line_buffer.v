// SPDX-License-Identifier: Apache-2.0
//
// The last ROWS rows of a stream of images, in banks that are read side by side.
//
// It works in column groups: PIXELS adjacent pixels with all their channels. Row r of the stream,
// counted across images, is in bank r mod BANKS, so any BANKS successive rows can be read at once.
// A bank stores its rows one after the other, GROUPS words each, and starts over after the last.
//
// Beats are taken only while there is a row that may be overwritten: the reader frees rows when
// nobody needs them any more.
// Latency: a group may be read in the clock after `group_written`; `read_data` comes 2 clocks after
// its address, as block RAM answers late.

`default_nettype none

module line_buffer #(
    parameter GROUPS     = 28,  // column groups a row
    parameter ROWS       = 6,   // a multiple of BANKS
    parameter BANKS      = 3,
    parameter CHANNELS   = 1,
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // pixels a beat
    parameter FREE_WIDTH = 5,         // bits of a signed number of rows
    parameter ADDR_WIDTH = 6,         // bits of an address in a bank
    parameter GROUP_BITS = 8*PIXELS*CHANNELS
) (
    input  wire                        clk,
    input  wire                        rst,
    input  wire [8*PIXELS*LANES-1:0]   s_axis_tdata,
    input  wire                        s_axis_tvalid,
    output wire                        s_axis_tready,
    output wire                        group_written,
    input  wire                        sweep_done,  // the reader frees
    input  wire [FREE_WIDTH-1:0]       freed,       // so many rows
    input  wire                        read,
    input  wire [BANKS*ADDR_WIDTH-1:0] read_addr,
    output wire [BANKS*GROUP_BITS-1:0] read_data
);

    localparam DEPTH     = ROWS / BANKS * GROUPS;  // of a bank
    localparam COL_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam [COL_WIDTH-1:0]  COL_LAST   = GROUPS[COL_WIDTH-1:0] - 1'b1;
    localparam [ADDR_WIDTH-1:0] ADDR_LAST  = DEPTH[ADDR_WIDTH-1:0] - 1'b1;
    localparam [FREE_WIDTH-1:0] FREE_START = ROWS[FREE_WIDTH-1:0] - 1'b1;

    wire [GROUP_BITS-1:0] group_data;

    beat_gatherer #(
        .CHANNELS(CHANNELS), .LANES(LANES), .PIXELS(PIXELS)
    ) gatherer (
        .clk(clk), .rst(rst),
        .beat(s_axis_tvalid && s_axis_tready), .beat_data(s_axis_tdata),
        .group(group_written), .group_data(group_data)
    );

    reg  [COL_WIDTH-1:0]  col_reg  = 0;
    reg  [BANKS-1:0]      bank_reg = 1;  // one-hot
    reg  [ADDR_WIDTH-1:0] row_reg  = 0;  // address of the row's first group
    reg  [ADDR_WIDTH-1:0] addr_reg = 0;
    wire                  row_written = group_written && col_reg == COL_LAST;
    wire                  bank_last   = bank_reg[BANKS-1];
    wire [ADDR_WIDTH-1:0] addr_next   = (addr_reg == ADDR_LAST) ? {ADDR_WIDTH{1'b0}}
                                                                : addr_reg + 1'b1;
    wire [2*BANKS-1:0]    bank_next   = {bank_reg, bank_reg} << 1;
    wire                  unused_bank = &{1'b0, bank_next[BANKS-1:0]};

    // Rows that may be overwritten, less one: its sign bit says that there is none.
    reg  [FREE_WIDTH-1:0] free_reg = FREE_START;

    assign s_axis_tready = !free_reg[FREE_WIDTH-1];

    always @(posedge clk) begin
        if (group_written) begin
            col_reg  <= row_written ? {COL_WIDTH{1'b0}} : col_reg + 1'b1;
            addr_reg <= (row_written && !bank_last) ? row_reg : addr_next;
        end
        if (row_written) begin
            bank_reg <= bank_next[2*BANKS-1:BANKS];
            if (bank_last)
                row_reg <= addr_next;
        end
        free_reg <= free_reg + (sweep_done ? freed : {FREE_WIDTH{1'b0}})
                             + {FREE_WIDTH{row_written}};
        if (rst) begin
            col_reg  <= 0;
            bank_reg <= 1;
            row_reg  <= 0;
            addr_reg <= 0;
            free_reg <= FREE_START;
        end
    end

    wire [BANKS*GROUP_BITS-1:0] bank_data;
    reg  [BANKS*GROUP_BITS-1:0] data_reg;

    assign read_data = data_reg;

    always @(posedge clk)
        data_reg <= bank_data;

    genvar bank;
    generate
        for (bank = 0; bank < BANKS; bank = bank + 1) begin : gen_bank
            line_memory #(
                .WIDTH(GROUP_BITS), .DEPTH(DEPTH), .ADDR_WIDTH(ADDR_WIDTH)
            ) rows (
                .clk(clk),
                .write(group_written && bank_reg[bank]), .write_addr(addr_reg),
                .write_data(group_data),
                .read(read), .read_addr(read_addr[bank*ADDR_WIDTH +: ADDR_WIDTH]),
                .read_data(bank_data[bank*GROUP_BITS +: GROUP_BITS])
            );
        end
    endgenerate

endmodule

`default_nettype wire
